/** Colours a client may choose freely, made readable: contrast as WCAG 2 defines it. */

export type Rgb = readonly number[];

/** `#rrggbb` only; anything else is null. */
export function parse(color: unknown): Rgb | null {
  return typeof color === "string" && /^#[\da-f]{6}$/i.test(color) ? [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16)) : null;
}

export function css(color: Rgb): string {
  return `rgb(${color.join()})`;
}

/** Relative luminance, 0 (black) to 1 (white). */
export function luminance(color: Rgb): number {
  const parts = color.map((c) => (c <= 10.3 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * parts[i]!, 0);
}

/** 1 (the same) to 21 (black on white). Text wants 4.5 at least. */
export function contrast(a: Rgb, b: Rgb): number {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

export const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
const READABLE = 4.5;

/** Text on a surface of this colour: white where that can be read, else black, one of which always can. */
export function textOn(surface: Rgb): Rgb {
  return contrast(WHITE, surface) >= READABLE ? WHITE : BLACK;
}

/** The colour itself where it can be read on the surface, else the nearest darker or lighter one that can. */
export function readable(color: Rgb, surface: Rgb): Rgb {
  const goal = textOn(surface);
  let mixed = color;
  for (let part = 0; contrast(mixed, surface) < READABLE && part < 1; part += 0.05) {
    mixed = color.map((c, i) => c + (goal[i]! - c) * part);
  }
  return mixed;
}
