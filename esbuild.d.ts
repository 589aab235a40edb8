// What esbuild.config.js adds to the language.

/** The version in pyproject.toml. */
declare const __VERSION__: string;

declare module '*.css' {
  /** The minified style sheet as text. */
  const text: string;
  export default text;
}
