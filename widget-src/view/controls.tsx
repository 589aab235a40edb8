/** @jsxRuntime classic */
/** @jsx h */
/** Icons on a 24 by 24 grid, drawn in the colour of the text, and the buttons with or without one. */

import { h, type ComponentChildren } from "preact";

const PATHS = {
  chat: "M12 4c-5 0-8 3-8 7s3 4 3 6v4l4-3c6 0 9-3 9-7s-3-7-8-7Z",
  fold: "m6 9 6 6 6-6",
  close: "m6 6 12 12M18 6 6 18",
  send: "M12 19V5m-6 6 6-6 6 6",
  stop: "M8 8h8v8H8z",
  copy: "M9 9h10v10H9zM5 15V5h10",
  check: "m5 12 5 5 9-9",
  up: "M7 20H4v-9h3m0 9v-9l4-7c2 0 2 1 2 6h7l-2 10Z",
  fresh: "M12 20h8M4 20l1-4L16 5l3 3L8 19Z",
};

export type IconName = keyof typeof PATHS;

export function icon(name: IconName, size = 20) {
  return (
    <svg class={"i " + name} width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** `fd` is its name in `data-fd`, by which tests and scripts find it. */
export function button(label: ComponentChildren, className: string, fd: string, onClick?: (event: Event) => void, more?: object) {
  return (
    <button type="button" class={className} data-fd={fd} onClick={onClick} {...more}>
      {label}
    </button>
  );
}

/** A button that is only an icon; its label is read aloud, and shown on hover. */
export function press(name: IconName, label: string, className: string, fd: string, click?: () => void, more?: object) {
  return button(icon(name), className, fd, click, { key: fd, title: label, "aria-label": label, ...more });
}
