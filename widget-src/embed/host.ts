/** The widget's element in the host page: a shadow root that keeps both out of each other's way. */

export interface Host {
  element: HTMLElement;
  root: ShadowRoot;
}

/** Constructed sheets are allowed by the strictest style-src; a style element needs the page's nonce. */
function dress(root: ShadowRoot, css: string, nonce: string): void {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    root.adoptedStyleSheets = [sheet];
  } catch {
    const style = document.createElement("style"); // Safari before 16.4
    style.nonce = nonce;
    style.textContent = css;
    root.append(style);
  }
}

/** It shows once it is put into the page. */
export function createHost(css: string, nonce: string): Host {
  // A name that no page's own rules for `div` or `section` match. It is never registered.
  const element = document.createElement("frontdesk-widget");
  const root = element.attachShadow({ mode: "open" });
  dress(root, css, nonce);
  return { element, root };
}
