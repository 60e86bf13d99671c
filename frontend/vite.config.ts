import { defineConfig } from "vite";

// The bundle goes into the Python package; nothing of it is fetched from a network when it runs.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/coverslip/server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
});
