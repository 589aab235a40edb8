/** Which addresses a link may have. */

// White, control and format characters: browsers drop some of these inside a scheme, so none may stand in an address.
const INVISIBLE = /[\s\p{Cc}\p{Cf}]/gu;
const ALLOWED = /^(?:https?:\/\/[^/\\?#]|mailto:[^@?]+@)/i;
const MAX_LENGTH = 2048;

/**
 * `raw` as an absolute http, https or mailto address, else undefined. An allow-list on the address as the browser
 * will see it, so no list of tricks is needed. An address with a user name is refused: it is there to mislead.
 */
export function safeUrl(raw: string): string | undefined {
  const text = raw.replace(INVISIBLE, '');
  if (text.length > MAX_LENGTH || !ALLOWED.test(text)) return undefined;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined; // not an address after all, so it is text
  }
  return url.username || url.password || !/^(?:https?|mailto):$/.test(url.protocol) ? undefined : url.href;
}

/** Where `href` really leads, when `text` does not say so. */
export function shownHost(href: string, text: string): string | undefined {
  const url = new URL(href);
  const where = url.host || url.pathname;
  const shown = text.trim().toLowerCase().replace(/^(?:https?:\/\/|mailto:)/, '');
  const same = shown.startsWith(where.toLowerCase()) && /^(?:[/?#]|$)/.test(shown.slice(where.length));
  return same ? undefined : where;
}
