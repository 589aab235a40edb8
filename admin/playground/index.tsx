/** The playground of a client: a draft, a chat with it, and the whole truth of each answer beside it. */

import { useEffect, useState } from "preact/hooks";
import type { ClientDetail, Models, PlaygroundSession, PlaygroundTurn, PlaygroundUsage, ToolsOfClient, TurnTruth } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { type Resource, useAction, useEvery, usePages, useResource } from "../core/resource.ts";
import { useStore } from "../core/store.ts";
import { money } from "../core/text.ts";
import { theme } from "../frame/theme.ts";
import type { PageProps } from "../router.ts";
import { ClientFrame } from "../clients/frame.tsx";
import { Button } from "../ui/button.tsx";
import { Section } from "../ui/page.tsx";
import { Badge, Empty, ErrorBox, Foreign, Load, Skeleton } from "../ui/show.tsx";
import { Chat } from "./chat.tsx";
import { type Draft, savedDraft, sentDraft } from "./draft.ts";
import { DraftForm } from "./draft.tsx";
import { KeepCase } from "./keep.tsx";
import { TURN_TONES } from "./tone.ts";
import { Truth } from "./truth.tsx";
import { words } from "./words.ts";

const { chat, truth } = words;
/** Milliseconds between two looks at a turn that runs. */
const RUNNING_EVERY = 1000;
const NIGHT = "(prefers-color-scheme: dark)";

export default function Playground({ params: { client_id } }: PageProps<"/clients/:client_id/playground">) {
  const tools = useResource<ToolsOfClient>(`/clients/${client_id}/tools`);
  const models = useResource<Models>("/models");
  return (
    <ClientFrame key={client_id} client_id={client_id} tab="playground" wide>
      {(client, resource) => (
        <Load from={tools}>{(toolbox) => <Load from={models}>{(known) => <Bench client={client} resource={resource} tools={toolbox} models={known} />}</Load>}</Load>
      )}
    </ClientFrame>
  );
}

interface BenchProps {
  client: ClientDetail;
  resource: Resource<ClientDetail>;
  tools: ToolsOfClient;
  models: Models;
}

function Bench({ client, resource, tools, models }: BenchProps) {
  const [used, setUsed] = useState<Draft>(() => savedDraft(client, tools));
  const [session, setSession] = useState<PlaygroundSession | null>(null);
  const begin = useAction(async () => {
    const draft = sentDraft(used, savedDraft(client, tools));
    setSession(await post<PlaygroundSession>(`/clients/${client.id}/playground`, { draft }));
  });
  useEffect(() => void begin.run(), []);
  if (!session) return begin.error ? <ErrorBox error={begin.error} onRetry={() => void begin.run()} /> : <Skeleton block={420} />;
  return (
    <div class="play-bench">
      <DraftForm key={session.session_id} client={client} resource={resource} tools={tools} models={models} session={session} used={used} onUse={setUsed} />
      <Talk key={session.session_id} client={client} session={session} begin={begin} />
    </div>
  );
}

interface TalkProps {
  client: ClientDetail;
  session: PlaygroundSession;
  begin: { run: () => Promise<unknown>; busy: boolean };
}

/** The chat, and what happened in it. */
function Talk({ client, session, begin }: TalkProps) {
  const turns = usePages<PlaygroundTurn>(`/playground/${session.session_id}/turns`);
  const month = useResource<PlaygroundUsage>(`/clients/${client.id}/playground/usage`);
  const [chosen, setChosen] = useState<string | null>(null);
  const dark = useDark();
  const onTurn = () => {
    void turns.reload();
    void month.reload();
  };
  const running = turns.rows.some(({ status }) => status === "running" || status === "queued");
  useEvery(RUNNING_EVERY, () => void (running && turns.reload()));
  const shown = chosen ?? turns.rows[0]?.turn_id ?? null;
  return (
    <>
      <Section
        title={chat.title}
        hint={month.value ? chat.month(month.value.messages, money(month.value.cost)) : chat.hint}
        actions={
          <Button icon="plus" busy={begin.busy} onClick={() => void begin.run()} fd="new-chat">
            {chat.begin}
          </Button>
        }
        fd="chat"
      >
        <Chat client={client} session={session} dark={dark} onTurn={onTurn} />
        <KeepCase client_id={client.id} conversation_id={session.conversation_id} disabled={!turns.rows.some(({ status }) => status === "done")} />
      </Section>
      <Section title={truth.title} fd="truths">
        {turns.error && <ErrorBox error={turns.error} onRetry={() => void turns.reload()} />}
        {!turns.rows.length && !turns.loading && (
          <Empty icon="eye" title={truth.title}>
            {truth.empty}
          </Empty>
        )}
        <ol class="play-turns">
          {turns.rows.map((turn) => (
            <li key={turn.turn_id}>
              <button type="button" aria-pressed={turn.turn_id === shown} onClick={() => setChosen(turn.turn_id)}>
                <Foreign text={turn.question ?? ""} />
                <Badge tone={TURN_TONES[turn.status]}>{truth.statuses[turn.status]}</Badge>
              </button>
            </li>
          ))}
        </ol>
        {shown && <OneTruth key={shown} turn_id={shown} mark={turns.rows.find(({ turn_id }) => turn_id === shown)} />}
      </Section>
    </>
  );
}

function OneTruth({ turn_id, mark }: { turn_id: string; mark: PlaygroundTurn | undefined }) {
  const one = useResource<TurnTruth>(`/turns/${turn_id}`);
  useEffect(() => {
    if (one.value) void one.reload();
  }, [mark?.status, mark?.model_calls, mark?.tool_calls]);
  return <Load from={one}>{(value) => <Truth truth={value} />}</Load>;
}

/** Whether the console is dark now. */
function useDark(): boolean {
  const chosen = useStore(theme);
  const [night, setNight] = useState(() => matchMedia(NIGHT).matches);
  useEffect(() => {
    const media = matchMedia(NIGHT);
    const look = () => setNight(media.matches);
    media.addEventListener("change", look);
    return () => media.removeEventListener("change", look);
  }, []);
  return chosen === "auto" ? night : chosen === "dark";
}
