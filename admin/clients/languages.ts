/** Languages by their names, in English and in themselves. */

function nameOf(tag: string): string {
  try {
    const english = new Intl.DisplayNames("en", { type: "language" }).of(tag) ?? tag;
    const own = new Intl.DisplayNames(tag, { type: "language" }).of(tag) ?? tag;
    return english.toLowerCase() === own.toLowerCase() ? english : `${english} (${own})`;
  } catch {
    return tag; // no language tag: shown as it is
  }
}

/** The languages that the widget has words in, and the visitor's own. */
export const languageOptions = (tags: readonly string[], auto: string): { value: string; label: string }[] => [
  { value: "auto", label: auto },
  ...[...tags].map((value) => ({ value, label: nameOf(value) })).sort((a, b) => a.label.localeCompare(b.label)),
];
