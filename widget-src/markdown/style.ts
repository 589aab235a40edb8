/**
 * How `Markdown` looks, for a style sheet inside a shadow root or a page. It takes colours from the text around it;
 * `--md-link` and `--md-line` change those of links and borders.
 */
export const markdownStyle = `
.md{overflow-wrap:anywhere}
.md>:first-child{margin-top:0}.md>:last-child{margin-bottom:0}
.md p,.md ul,.md ol,.md blockquote,.md-h,.md-code,.md-table{margin:.6em 0}
.md ul,.md ol{padding-inline-start:1.4em}.md li{margin:.2em 0}.md li>ul,.md li>ol,.md li>p{margin:.2em 0}
.md-h{font-weight:650;line-height:1.3}
.md a{color:var(--md-link,currentColor);text-decoration:underline;text-underline-offset:2px}
.md code{font:.9em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:color-mix(in srgb,currentColor 9%,transparent);border-radius:4px;padding:.1em .3em}
.md-code{border:1px solid var(--md-line,color-mix(in srgb,currentColor 16%,transparent));border-radius:8px;overflow:hidden}
.md-lang{font-size:.75em;opacity:.7;padding:.3em .9em 0}
.md pre{margin:0;padding:.6em .9em;overflow-x:auto}.md pre code{background:none;padding:0;white-space:pre;overflow-wrap:normal}
.md blockquote{margin-inline:0;padding-inline-start:.8em;border-inline-start:3px solid color-mix(in srgb,currentColor 25%,transparent)}
.md blockquote>:first-child{margin-top:0}.md blockquote>:last-child{margin-bottom:0}
.md-table{overflow-x:auto}.md table{border-collapse:collapse;font-size:.95em;overflow-wrap:normal}
.md th,.md td{padding:.35em .7em;border-bottom:1px solid var(--md-line,color-mix(in srgb,currentColor 16%,transparent));text-align:start;vertical-align:top}
.md th{font-weight:650}.md .md-center{text-align:center}.md .md-right{text-align:right}.md .md-left{text-align:left}
.md hr{border:0;border-top:1px solid var(--md-line,color-mix(in srgb,currentColor 16%,transparent));margin:.9em 0}
.md-cite{font-size:.75em;line-height:0;opacity:.75}
`;
