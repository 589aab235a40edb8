/** The list of conversations with its filters, by the keyboard too. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { ClientPage } from "../core/api.gen.ts";
import { asApiError } from "../core/api.ts";
import { useKeys } from "../core/keys.ts";
import { useResource } from "../core/resource.ts";
import { may, useMe } from "../core/session.ts";
import { navigate, useQuery } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { Menu } from "../ui/menu.tsx";
import { Empty, ErrorBox, Skeleton } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { VirtualList } from "../ui/virtual.tsx";
import type { Row } from "./core/rows.ts";
import { Filters, isFiltered, NO_FILTER, readFilter } from "./filters.tsx";
import { alerts, desk } from "./live.ts";
import { RowLine } from "./row.tsx";
import { useSource } from "./use_source.ts";
import { WORDS } from "./words.ts";

/** CSS pixels; `.inbox-row` fills it. */
const ROW = 84;
/** After so many milliseconds without scrolling the rows in sight are watched. */
const REST = 300;

/** Which rows are on the screen, told when scrolling rests. */
function useGlances(): (id: string, shown: boolean) => void {
  const shown = useRef(new Set<string>());
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      desk.glance([]);
    },
    [],
  );
  return useCallback((id, on) => {
    if (on) shown.current.add(id);
    else shown.current.delete(id);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => desk.glance([...shown.current]), REST);
  }, []);
}

/** The clients' names, for whoever may read them: an operator of one client alone needs none. */
function useClients(): ClientPage["rows"] | null {
  const me = useMe();
  const { value } = useResource<ClientPage>(me.client_id === null && may("admin") ? "/clients?limit=100" : null);
  return value?.rows ?? null;
}

function AlertMenu() {
  const { sound, notify } = useSource(alerts.wishes);
  const ask = async () => {
    if (!(await alerts.notify(!notify))) toast(WORDS.blocked, { tone: "bad" });
  };
  return (
    <Menu
      label={WORDS.alerts}
      icon="bell"
      kind="quiet"
      fd="alerts"
      items={[
        { label: WORDS.sound, checked: sound, onSelect: () => alerts.sound(!sound) },
        { label: WORDS.notify, checked: notify, onSelect: () => void ask() },
      ]}
    />
  );
}

export function ListPane({ opened }: { opened: string | null }) {
  const [query, setQuery] = useQuery();
  const filter = readFilter(query);
  const { rows, loading, loadingMore, error } = useSource(desk.inbox.view);
  const me = useMe().id;
  const clients = useClients();
  const onShown = useGlances();
  const [pointed, setPointed] = useState<string | null>(null);
  const section = useRef<HTMLElement>(null);
  useEffect(() => desk.inbox.show(filter), [query.toString()]);
  // The keyboard goes along, so that Enter opens what is pointed at, as any link.
  useEffect(() => section.current?.querySelector<HTMLElement>(".inbox-row.pointed")?.focus({ preventScroll: true }), [pointed]);

  const to = (id: string) => `/inbox/${id}${query.size ? `?${query}` : ""}`;
  const move = (by: number) => {
    const at = rows.findIndex((row) => row.conversation_id === (pointed ?? opened));
    const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
    if (next) setPointed(next.conversation_id);
  };
  const leave = ({ relatedTarget: to }: FocusEvent) => {
    if (!(to instanceof Element && to.closest(".inbox-row"))) setPointed(null);
  };
  const { keys } = WORDS;
  useKeys([
    { keys: "j", label: keys.next, run: () => move(1) },
    { keys: "k", label: keys.previous, run: () => move(-1) },
    { keys: "Enter", label: keys.open, when: pointed !== null, run: () => void navigate(to(pointed!)) },
    { keys: "/", label: keys.search, run: () => document.querySelector<HTMLInputElement>("[data-fd=search]")?.focus() },
  ]);

  const nameOfClient = (id: number) => (clients && clients.length > 1 ? (clients.find((client) => client.id === id)?.name ?? null) : null);
  const line = (row: Row) => (
    <RowLine
      row={row}
      to={to(row.conversation_id)}
      current={row.conversation_id === opened}
      pointed={row.conversation_id === pointed}
      mine={row.owner === "human" && row.operator?.id === me}
      client={nameOfClient(row.client_id)}
      onShown={onShown}
    />
  );

  return (
    <section ref={section} class="inbox-list" aria-label={WORDS.list} onFocusOut={leave} data-fd="list">
      <Filters filter={filter} clients={clients} onChange={setQuery} beside={<AlertMenu />} />
      {error !== null && <ErrorBox error={asApiError(error)} onRetry={desk.inbox.reload} />}
      {loading && error === null ? (
        <div class="inbox-loading">
          <Skeleton rows={8} />
        </div>
      ) : rows.length ? (
        <VirtualList
          label={WORDS.list}
          items={rows}
          keyOf={(row) => row.conversation_id}
          rowHeight={ROW}
          render={line}
          onEnd={desk.inbox.next}
          active={pointed ?? opened}
          class="inbox-rows"
          footer={loadingMore && <Skeleton rows={1} />}
        />
      ) : (
        error === null && <Nothing filtered={isFiltered(filter)} onClear={() => setQuery(NO_FILTER)} />
      )}
    </section>
  );
}

function Nothing({ filtered, onClear }: { filtered: boolean; onClear: () => void }) {
  return (
    <Empty
      icon={filtered ? "search" : "inbox"}
      title={filtered ? WORDS.noneFound : WORDS.none}
      action={
        filtered && (
          <Button onClick={onClear} fd="clear-filters">
            {WORDS.clearFilters}
          </Button>
        )
      }
      fd="no-rows"
    >
      {filtered ? WORDS.noneFoundText : WORDS.noneText}
    </Empty>
  );
}
