/** Tables, which become a list of cards where the window is narrow. */

import type { ComponentChildren } from "preact";
import type { Pages } from "../core/resource.ts";
import { Link } from "../router.ts";
import { Button } from "./button.tsx";
import { ErrorBox, Skeleton } from "./show.tsx";

export interface Column<R> {
  title: string;
  cell: (row: R) => ComponentChildren;
  /** At the end of the cell, as numbers are. */
  end?: boolean;
  /** The row's name: the head of its card, and what is clicked. */
  main?: boolean;
  /** False: left out where the window is narrow. */
  narrow?: boolean;
  /** CSS width. */
  width?: string;
}

export interface TableProps<R> {
  label: string;
  columns: readonly Column<R>[];
  rows: readonly R[];
  keyOf: (row: R) => string | number;
  /** The page of a row: the whole row is a link to it. */
  to?: (row: R) => string;
  onOpen?: (row: R) => void;
  loading?: boolean;
  /** Instead of a table without rows. */
  empty?: ComponentChildren;
  fd?: string;
}

export function Table<R>({ label, columns, rows, keyOf, to, onOpen, loading, empty, fd }: TableProps<R>) {
  if (!rows.length && loading) return <Skeleton rows={6} />;
  if (!rows.length && empty) return <>{empty}</>;
  const opens = to || onOpen;
  return (
    <div class="table-place">
      <table class={`table${opens ? " opens" : ""}`} aria-label={label} aria-busy={loading || undefined} data-fd={fd ?? "table"}>
        <thead>
          <tr>
            {columns.map((each) => (
              <th key={each.title} scope="col" class={look(each)} style={each.width ? { width: each.width } : undefined}>
                {each.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} data-key={keyOf(row)}>
              {columns.map((each) => (
                <td key={each.title} class={look(each)} data-label={each.title}>
                  <Cell row={row} column={each} to={to} onOpen={onOpen} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell<R>({ row, column, to, onOpen }: { row: R; column: Column<R> } & Pick<TableProps<R>, "to" | "onOpen">) {
  const inside = column.cell(row);
  if (!column.main) return <>{inside}</>;
  if (to) {
    return (
      <Link to={to(row)} class="row-open">
        {inside}
      </Link>
    );
  }
  if (onOpen) {
    return (
      <button type="button" class="row-open" onClick={() => onOpen(row)}>
        {inside}
      </button>
    );
  }
  return <>{inside}</>;
}

const look = <R,>({ end, main, narrow }: Column<R>): string =>
  [end && "end", main && "main", narrow === false && "wide-only"].filter(Boolean).join(" ");

/** What comes after a list's rows: more of them, or why there are none. */
export function Pager<R>({ pages }: { pages: Pages<R> }) {
  const { error, more, loading, rows } = pages;
  if (error) return <ErrorBox error={error} onRetry={() => void (rows.length ? pages.next() : pages.reload())} />;
  if (!more) return null;
  return (
    <div class="pager">
      <Button busy={loading} onClick={() => void pages.next()} fd="more">
        Show more
      </Button>
    </div>
  );
}
