// `import css from "./x.css"` in a script gives the minified text, for a style sheet made in a shadow root. What a style
// sheet imports stays a style sheet.
import { join } from "node:path";
import * as esbuild from "esbuild";

export const cssAsText = (target) => ({
  name: "css-as-text",
  setup(build) {
    build.onResolve({ filter: /\.css$/ }, ({ path, kind, resolveDir }) =>
      kind === "import-statement" ? { path: join(resolveDir, path), namespace: "css-as-text" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "css-as-text" }, async ({ path }) => {
      const options = { entryPoints: [path], bundle: true, minify: true, write: false, metafile: true, target };
      const { outputFiles, metafile } = await esbuild.build({ ...options, legalComments: "none", logLevel: "silent" });
      const watchFiles = Object.keys(metafile.inputs).map((file) => join(process.cwd(), file));
      return { contents: outputFiles[0].text.trimEnd(), loader: "text", watchFiles };
    });
  },
});
