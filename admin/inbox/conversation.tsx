/** The conversation that is open: who is there, what is said, what one can do, and what is known of it. */

import { useEffect, useMemo, useState } from "preact/hooks";
import type { ConversationHead, NoteList } from "../core/api.gen.ts";
import { asApiError, del, post } from "../core/api.ts";
import { useKeys } from "../core/keys.ts";
import { useEvery, useResource } from "../core/resource.ts";
import { useMe } from "../core/session.ts";
import { navigate, useRoute } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { confirm } from "../ui/dialog.tsx";
import { Empty, Notice } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { Composer, focusComposer, type Mode } from "./composer.tsx";
import type { ConversationStore } from "./core/conversation_store.ts";
import type { CommandName, Talk } from "./core/talk.ts";
import { Details } from "./details.tsx";
import { HeadBar, type Standing, takenBy } from "./head.tsx";
import { desk } from "./live.ts";
import type { Acts } from "./message.tsx";
import { nameOf } from "./row.tsx";
import { Transcript } from "./transcript.tsx";
import { useSource } from "./use_source.ts";
import { fill, WORDS } from "./words.ts";

/** Notes of colleagues are looked for so often (ms): no frame tells of them. */
const NOTES = 15_000;
/** What it cost is read anew after so many milliseconds without news. */
const REST = 600;
const WIDE = "(min-width: 1440px)";

/** Whose it is, seen from the operator: the socket knows first, until then the list does. */
function standing(talk: Talk, head: ConversationHead | undefined, me: number): Standing {
  const row = desk.inbox.row(talk.id);
  const owner = talk.state.loaded ? talk.state.owner : (row?.owner ?? head?.owner ?? "ai");
  // A visitor is told a name and no number, so whose it is is the list's to say.
  const holder = row?.owner === owner ? row.operator : head?.owner === owner ? head.operator : null;
  const mine = owner === "human" && holder?.id === me;
  return { owner, mine, holder: owner === "human" ? (holder?.name ?? talk.state.operator?.name ?? WORDS.someone) : null };
}

/** What cannot be undone is asked first. */
async function askToClose(store: ConversationStore): Promise<void> {
  if (await confirm({ title: WORDS.closeTitle, text: WORDS.closeText, action: WORDS.close, danger: true })) store.close();
}

function useActs(store: ConversationStore, reloadNotes: () => Promise<void>): Acts {
  return useMemo(
    () => ({
      answer: store.approve,
      retry: store.retry,
      remove: store.remove,
      async deleteNote(id) {
        if (!(await confirm({ title: WORDS.deleteNoteTitle, action: WORDS.deleteNote, danger: true }))) return;
        try {
          await del(`/notes/${id}`);
        } catch (error) {
          toast(asApiError(error).message, { tone: "bad" });
        }
        await reloadNotes();
      },
    }),
    [store],
  );
}

function useWide(): boolean {
  const query = useMemo(() => matchMedia(WIDE), []);
  const [wide, setWide] = useState(query.matches);
  useEffect(() => {
    const look = () => setWide(query.matches);
    query.addEventListener("change", look);
    return () => query.removeEventListener("change", look);
  }, [query]);
  return wide;
}

export function ConversationPane({ id }: { id: string }) {
  const store = useMemo(() => desk.conversation(id), [id]);
  const talk = useSource(store.talk);
  const me = useMe().id;
  // Who has taken it is in its row, which may change without anything else.
  useSource(desk.inbox.view, () => desk.inbox.row(id));
  const head = useResource<ConversationHead>(`/conversations/${id}`);
  const notes = useResource<NoteList>(`/conversations/${id}/notes`);
  const acts = useActs(store, notes.reload);
  const wide = useWide();
  const [details, setDetails] = useState<boolean | null>(null);
  const [mode, setMode] = useState<Mode>("reply");
  const { query } = useRoute();

  useEvery(NOTES, () => void notes.reload());
  const { seq } = talk.state;
  useEffect(() => {
    if (seq < 0 || !head.value) return undefined;
    const timer = setTimeout(() => void head.reload(), REST);
    return () => clearTimeout(timer);
  }, [seq]);

  const stands = standing(talk, head.value, me);
  const showDetails = details ?? wide;
  const list = `/inbox${query.size ? `?${query}` : ""}`;
  const write = (next: Mode) => {
    setMode(next);
    focusComposer();
  };
  const { keys } = WORDS;
  const taken = takenBy(stands);
  useKeys([
    { keys: "r", label: keys.reply, run: () => write("reply") },
    { keys: "w", label: keys.whisper, run: () => write("whisper") },
    { keys: "n", label: keys.note, run: () => write("note") },
    { keys: "t", label: keys.take, when: !stands.mine, run: () => (taken ? toast(taken) : store.takeOver()) },
    { keys: "b", label: keys.release, when: stands.mine || stands.owner === "queued", run: store.release },
    { keys: "e", label: keys.close, when: stands.owner !== "closed", run: () => void askToClose(store) },
    { keys: "s", label: keys.stop, when: talk.state.live !== null, run: store.stop },
    { keys: "d", label: keys.details, run: () => setDetails(!showDetails) },
    { keys: "u", label: keys.leave, run: () => void navigate(list) },
  ]);

  if (talk.refused !== null || head.error?.status === 404) {
    return (
      <section class="inbox-open" data-fd="conversation">
        <Empty icon="warn" title={WORDS.unreadable} action={<Button to={list}>{WORDS.back}</Button>} fd="refused">
          {talk.refused ?? head.error?.message}
        </Empty>
      </section>
    );
  }
  const visitor = head.value?.visitor?.name ?? nameOf(desk.inbox.row(id) ?? { conversation_id: id });
  const addNote = async (text: string) => {
    await post(`/conversations/${id}/notes`, { text });
    await notes.reload();
  };
  return (
    <section class={`inbox-open${showDetails ? " with-details" : ""}`} aria-label={visitor} data-fd="conversation" data-id={id}>
      <div class="inbox-main">
        <HeadBar
          visitor={visitor}
          list={list}
          head={head.value}
          talk={talk}
          me={me}
          stands={stands}
          store={store}
          onClose={() => void askToClose(store)}
          details={showDetails}
          onDetails={() => setDetails(!showDetails)}
        />
        <LineBanner />
        <Troubles talk={talk} store={store} />
        <Transcript
          store={store}
          talk={talk}
          notes={notes.value?.rows ?? []}
          acts={acts}
          visitor={visitor}
          me={me}
          total={head.value?.totals.messages}
        />
        <Composer key={id} store={store} talk={talk} stands={stands} mode={mode} onMode={setMode} onNote={addNote} />
      </div>
      {showDetails && <Details head={head} talk={talk} me={me} onHide={() => setDetails(false)} />}
    </section>
  );
}

/** The link is not there: what is shown may be old. Shown late, so that a short loss is not seen. */
function LineBanner() {
  const { link, code, greeted } = useSource(desk.line);
  if (link === "ended") {
    const outdated = code === 4426;
    const action = outdated ? (
      <Button small onClick={() => location.reload()}>
        {WORDS.reload}
      </Button>
    ) : (
      <Button small onClick={desk.start}>
        {WORDS.connectAgain}
      </Button>
    );
    return (
      <Notice tone="bad" fd="link-ended" action={action}>
        {outdated ? WORDS.outdated : WORDS.ended}
      </Notice>
    );
  }
  if (link === "online" || !greeted) return null;
  return (
    <div class="inbox-late">
      <Notice tone="warn" fd={navigator.onLine ? "link-lost" : "link-offline"}>
        {navigator.onLine ? WORDS.lost : WORDS.offline}
      </Notice>
    </div>
  );
}

/** Commands that were not carried out. */
function Troubles({ talk, store }: { talk: Talk; store: ConversationStore }) {
  const failed = (Object.entries(talk.commands) as [CommandName, { state: string; error: string | null }][]).filter(([, { state }]) => state === "failed");
  return (
    <>
      {failed.map(([name, { error }]) => (
        <Notice
          key={name}
          tone="bad"
          fd="command-failed"
          action={<Button small kind="quiet" icon="close" label="Dismiss" onClick={() => store.dismiss(name)} />}
        >
          <span dir="auto">{error === "" ? WORDS.lostCommand : fill(WORDS.failed, { what: WORDS.doing[name], why: error ?? WORDS.unsent })}</span>
        </Notice>
      ))}
    </>
  );
}
