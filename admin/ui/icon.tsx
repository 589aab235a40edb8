/** Icons: lines on 24 by 24, in the colour of the text beside them. They say nothing to a screen reader. */

export const ICONS = {
  inbox: "M3 13h5l1.5 3h5L16 13h5M3 13l3-8h12l3 8v6H3Z",
  clients: "M4 21V8l8-5 8 5v13M9 21v-6h6v6M9 10h.01M15 10h.01",
  tools: "M14.5 6.5a4 4 0 0 1 5-5l-2.6 2.6 2 2 2.6-2.6a4 4 0 0 1-5.3 4.9L8.5 16a3 3 0 1 1-2-2l8-7.5Z",
  playground: "M9 3h6M10 3v6l-5.5 9.5A1.7 1.7 0 0 0 6 21h12a1.7 1.7 0 0 0 1.5-2.5L14 9V3M7.5 15h9",
  usage: "M4 20V10M10 20V4M16 20v-7M22 20H2",
  operations: "M3 12h4l3-8 4 16 3-8h4",
  staff: "M16 20v-1.5a4 4 0 0 0-4-4H7a4 4 0 0 0-4 4V20M9.5 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM21 20v-1.5a4 4 0 0 0-3-3.8M15.5 4.2a3.5 3.5 0 0 1 0 6.6",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "m6 6 12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  check: "m5 12.5 4.5 4.5L19 7.5",
  copy: "M9 9h11v11H9ZM5 15H4V4h11v1",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 21 21",
  down: "m6 9 6 6 6-6",
  up: "m6 15 6-6 6 6",
  back: "m14 6-6 6 6 6",
  forward: "m10 6 6 6-6 6",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  edit: "M4 20h4L19 9l-4-4L4 16ZM13 7l4 4",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  key: "M15.5 12a4.5 4.5 0 1 0-4.4-3.5L3 16.6V21h4.4v-3h3v-3h2l.6-.7a4.5 4.5 0 0 0 2.5-2.3ZM16 8h.01",
  link: "M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 0 0 5.7 5.7l1.6-1.6",
  out: "M14 4h6v6M20 4l-9 9M11 5H5v14h14v-6",
  leave: "M14 8V4H4v16h10v-4M9 12h12M17 8l4 4-4 4",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  keyboard: "M3 6h18v12H3ZM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  bell: "M18 9a6 6 0 1 0-12 0c0 6-2 7-2 8h16c0-1-2-2-2-8ZM10 20.5a2.2 2.2 0 0 0 4 0",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4.5 20.5a7.5 7.5 0 0 1 15 0",
  hand: "M7 13V6.5a1.5 1.5 0 0 1 3 0V11 4.5a1.5 1.5 0 0 1 3 0V11 5.5a1.5 1.5 0 0 1 3 0V12 8.5a1.5 1.5 0 0 1 3 0V15a6 6 0 0 1-6 6h-1.5a6 6 0 0 1-5-2.7L3.7 14a1.5 1.5 0 0 1 2.4-1.7Z",
  whisper: "M4 5h16v11H9l-5 4ZM8 9h8M8 12h5",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7Z",
  play: "M8 5.5v13l11-6.5Z",
  note: "M5 4h14v11l-5 5H5ZM14 20v-5h5M9 9h6M9 13h3",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7v5l3.5 2",
  refresh: "M20 5v5h-5M4 19v-5h5M19.5 10A8 8 0 0 0 5.6 7.4M4.5 14a8 8 0 0 0 13.9 2.6",
  warn: "M12 4 2.5 20h19ZM12 10v4M12 17h.01",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 11v5M12 8h.01",
  lock: "M6 11h12v9H6ZM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  download: "M12 4v11M7 10.5l5 5 5-5M4 20h16",
  filter: "M4 6h16M7 12h10M10 18h4",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5v-5M9 19.5v-5",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM3 12h18M12 3c2.5 2.5 3.5 5.5 3.5 9s-1 6.5-3.5 9c-2.5-2.5-3.5-5.5-3.5-9S9.5 5.5 12 3Z",
  code: "m8 7-5 5 5 5M16 7l5 5-5 5",
  database: "M12 9c4.4 0 8-1.3 8-3s-3.6-3-8-3-8 1.3-8 3 3.6 3 8 3ZM4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3",
  bolt: "M13 3 5 14h6l-1 7 8-11h-6Z",
  star: "m12 3.5 2.6 5.6 6 .8-4.4 4.2 1.1 6-5.3-3-5.3 3 1.1-6L3.4 9.9l6-.8Z",
  thumbUp: "M7 20H4v-9h3m0 9v-9l4-7c2 0 2 1 2 6h7l-2 10Z",
  thumbDown: "M17 4h3v9h-3m0-9v9l-4 7c-2 0-2-1-2-6H4L6 4Z",
} as const;

export type IconName = keyof typeof ICONS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class={`icon icon-${name}`} width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={ICONS[name]} />
    </svg>
  );
}
