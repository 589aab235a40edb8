/** Amounts by day, drawn by uPlot. Arrow keys read the days; the same numbers stand in the page's table. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { type Line, isFlat, step, ticks, WHOLE_STEPS } from "./series.ts";
import { words } from "./words.ts";

export interface ChartProps {
  title: string;
  /** Seconds since 1970, one a day. */
  times: number[];
  lines: Line[];
  format(value: number): string;
  /** At the upright axis, where there is little room. */
  brief(value: number): string;
  /** Only whole numbers occur. */
  whole?: boolean;
  /** Charts of one group show the same day. */
  group?: string;
  fd?: string;
}

const HEIGHT = 172;
const DAY = 86_400;
/** Share of the width that stays free at both ends. */
const EDGE = 0.02;
const INKS = { first: ["--accent", "--accent-soft"], second: ["--warn", "transparent"] } as const;

const dayText = new Intl.DateTimeFormat("en", { weekday: "short", month: "short", day: "numeric", timeZone: "UTC" });
const tickText = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", timeZone: "UTC" });

/** A canvas knows no variables: what a token is at this moment. */
function inkOf(probe: HTMLElement, token: string): string {
  if (token === "transparent") return token;
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}

function seriesOf({ lines, times }: ChartProps, probe: HTMLElement): uPlot.Series[] {
  const own = lines.map(({ label, tone }): uPlot.Series => {
    const [stroke, fill] = INKS[tone].map((token) => inkOf(probe, token));
    return { label, stroke, fill, width: 2, points: { show: times.length <= 31, size: 5, fill: stroke } };
  });
  return [{}, ...own];
}

function axesOf({ times, brief, whole }: ChartProps, probe: HTMLElement): uPlot.Axis[] {
  const stroke = inkOf(probe, "--mute");
  const font = "12px system-ui, sans-serif";
  const days = (plot: uPlot) => ticks(times, plot.bbox.width / devicePixelRatio, 56);
  const lines = { stroke: inkOf(probe, "--line"), width: 1 };
  return [
    {
      stroke,
      font,
      size: 30,
      gap: 8,
      grid: { show: false },
      ticks: { show: false },
      splits: days,
      values: (_plot, at) => at.map((time) => tickText.format(time * 1000)),
    },
    {
      stroke,
      font,
      size: (_plot, values) => 14 + 7 * Math.max(2, ...(values ?? []).map((text) => text.length)),
      space: 36,
      grid: lines,
      ticks: { show: false },
      ...(whole ? { incrs: WHOLE_STEPS } : {}),
      values: (_plot, at) => at.map(brief),
    },
  ];
}

function optionsOf(props: ChartProps, probe: HTMLElement, width: number, onDay: (at: number | null) => void): uPlot.Options {
  const { times, group } = props;
  const [first, last] = [times[0]!, times[times.length - 1]!];
  // Room for the marks of the first and the last day.
  const edge = times.length === 1 ? DAY : (last - first) * EDGE;
  return {
    width,
    height: HEIGHT,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, ...(group ? { sync: { key: group } } : {}) },
    scales: {
      x: { time: false, range: () => [first - edge, last + edge] },
      y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] },
    },
    axes: axesOf(props, probe),
    series: seriesOf(props, probe),
    hooks: { setCursor: [(plot) => onDay(plot.cursor.idx ?? null)] },
  };
}

/** Goes up when light becomes dark or the other way round. */
function useScheme(): number {
  const [edition, setEdition] = useState(0);
  useEffect(() => {
    const change = () => setEdition((n) => n + 1);
    const night = matchMedia("(prefers-color-scheme: dark)");
    night.addEventListener("change", change);
    const watcher = new MutationObserver(change);
    watcher.observe(document.documentElement, { attributes: true });
    return () => {
      night.removeEventListener("change", change);
      watcher.disconnect();
    };
  }, []);
  return edition;
}

export function Chart(props: ChartProps) {
  const { title, times, lines, format, fd } = props;
  const place = useRef<HTMLDivElement>(null);
  const probe = useRef<HTMLElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const scheme = useScheme();
  const flat = useMemo(() => isFlat(lines), [lines]);

  useEffect(() => {
    const box = place.current;
    if (!box || !probe.current || flat) return;
    const drawn = new uPlot(optionsOf(props, probe.current, box.clientWidth, setAt), [times, ...lines.map(({ values }) => values)], box);
    plot.current = drawn;
    const resized = new ResizeObserver(() => drawn.setSize({ width: box.clientWidth, height: HEIGHT }));
    resized.observe(box);
    return () => {
      resized.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [times, lines, scheme, flat]);

  const walk = (event: KeyboardEvent) => {
    const next = step(event.key, at, times.length);
    if (next === null || !plot.current) return;
    event.preventDefault();
    plot.current.setCursor({ left: plot.current.valToPos(times[next]!, "x"), top: 0 });
    setAt(next);
  };
  const shown = at !== null && at < times.length ? at : null;
  const reading = shown === null ? words.chart.hint : readingOf(props, shown);
  return (
    <figure class="usage-chart" data-fd={fd}>
      <figcaption class="usage-chart-head">
        <b>{title}</b>
        <span class="usage-chart-keys">
          {lines.map(({ label, values, tone }) => (
            <span key={label} class="usage-chart-key">
              <i class={`usage-ink usage-ink-${tone}`} />
              {lines.length > 1 && label}
              <b>{format(shown === null ? sum(values) : values[shown]!)}</b>
            </span>
          ))}
          <span>{shown === null ? words.chart.whole : dayText.format(times[shown]! * 1000)}</span>
        </span>
      </figcaption>
      <i ref={probe} hidden />
      {flat ? (
        <p class="usage-chart-flat">{words.chart.flat}</p>
      ) : (
        <div
          class="usage-plot"
          ref={place}
          dir="ltr"
          role="slider"
          tabIndex={0}
          aria-label={words.chart.label(title)}
          aria-valuemin={0}
          aria-valuemax={times.length - 1}
          aria-valuenow={shown ?? times.length - 1}
          aria-valuetext={reading}
          onKeyDown={walk}
          onBlur={() => setAt(null)}
        />
      )}
    </figure>
  );
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const readingOf = ({ times, lines, format }: ChartProps, at: number): string =>
  [dayText.format(times[at]! * 1000), ...lines.map(({ label, values }) => `${label} ${format(values[at]!)}`)].join(", ");
