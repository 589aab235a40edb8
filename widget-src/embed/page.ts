/** The host page: what stays open across it, when it comes back, and what must not move behind a phone's panel. */

/** Calls `change` when the network or the page comes or goes, and `back` when it comes. Ends with the signal. */
export function watchPage(back: () => void, change: () => void, signal: AbortSignal): void {
  const check = () => {
    change();
    if (navigator.onLine && document.visibilityState === "visible") back();
  };
  for (const event of ["online", "offline", "pageshow", "visibilitychange"]) addEventListener(event, check, { signal });
}

let before: string | null = null;

/** The page's own value comes back afterwards. */
export function lockScroll(on: boolean): void {
  const { style } = document.documentElement;
  if (on === (before === null)) [before, style.overflow] = on ? [style.overflow, "hidden"] : [null, before!];
}

/** Sets `--top` and `--height` to the part of the window that the on-screen keyboard leaves free. */
export function fitKeyboard(element: HTMLElement): void {
  const { height, offsetTop } = visualViewport!;
  element.style.cssText = `--height:${height}px;--top:${offsetTop}px`;
}

/** The element with `data-frontdesk-open` that was clicked. */
export function openerOf(event: Event): HTMLElement | null {
  const [inner] = event.composedPath();
  return inner instanceof Element ? inner.closest<HTMLElement>("[data-frontdesk-open]") : null;
}
