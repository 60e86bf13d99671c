import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const UNIFORMS = fileURLToPath(new URL("src/uniforms.ts", import.meta.url));

/** Has the drawing library set its shaders' uniforms by src/uniforms.ts instead of by code that it compiles. */
function withoutEval(): Plugin {
  const replaced: [RegExp, string][] = [
    [/systemCheck\(\) \{\s*if \(!\w+\(\)\)\s*throw new Error\("Current environment does not allow unsafe-eval[^}]*\}/, "systemCheck() {}"],
    [
      /syncUniforms\((\w+), (\w+), (\w+)\) \{\s*\(\1\.syncUniforms\[[^}]*\}/,
      "syncUniforms($1, $2, $3) { coverslipSyncUniforms($1.uniforms, [this.shader.program.uniformData, $2.uniformData], this.renderer, $3); }",
    ],
  ];
  return {
    name: "without-eval",
    enforce: "pre",
    transform(code, id) {
      if (!id.includes("annotorious-openseadragon.es.js")) return null;
      for (const [pattern, by] of replaced) {
        if (!pattern.test(code)) this.error(`Annotorious has changed: there is no ${pattern} to replace`);
        code = code.replace(pattern, by);
      }
      return { code: `import { syncUniforms as coverslipSyncUniforms } from ${JSON.stringify(UNIFORMS)};\n${code}`, map: null };
    },
  };
}

// The bundle goes into the Python package; nothing of it is fetched from a network when it runs.
export default defineConfig({
  base: "./",
  plugins: [withoutEval()],
  build: {
    outDir: "../src/coverslip/server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
});
