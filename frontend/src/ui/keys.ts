import { useEffect } from "preact/hooks";
import { nextFinding } from "./Regions";
import { closePane } from "./Bar";
import { openSlide } from "./SlideList";
import { drawTool } from "../draw";
import { dropShape, endShape, home, move, paneOf, saveScreenshot, zoomBy, zoomTo } from "../stage";
import { allLayers, current, help, linked, shownSlides, tool } from "../state";

const MAGNIFIED = [1.25, 2.5, 5, 10, 20, 40];

const KEYS: Record<string, (event: KeyboardEvent) => void> = {
  ArrowLeft: (event) => move(-1, 0, event.shiftKey),
  ArrowRight: (event) => move(1, 0, event.shiftKey),
  ArrowUp: (event) => move(0, -1, event.shiftKey),
  ArrowDown: (event) => move(0, 1, event.shiftKey),
  "+": () => zoomBy(1.5),
  "=": () => zoomBy(1.5),
  "-": () => zoomBy(1 / 1.5),
  f: home,
  n: () => nextFinding(1),
  p: () => nextFinding(-1),
  o: () => (allLayers.value = !allLayers.value),
  v: () => (tool.value = "look"),
  l: () => (tool.value = "length"),
  a: () => (tool.value = "area"),
  Enter: () => {
    if (drawTool.value) paneOf(current.value)?.drawing.finish();
    else endShape();
  },
  Escape: () => {
    drawTool.value = null;
    dropShape();
  },
  Delete: () => paneOf(current.value)?.drawing.removeSelected(),
  "[": () => neighbour(-1),
  "]": () => neighbour(1),
  k: () => (linked.value = !linked.value),
  x: closePane,
  s: () => void saveScreenshot(),
  "/": () => document.getElementById("search")?.focus(),
  "?": () => (help.value = true),
  ...Object.fromEntries(MAGNIFIED.map((steps, i) => [String(i + 1), () => zoomTo(steps)])),
};

function neighbour(by: number): void {
  const list = shownSlides.value.filter((slide) => slide.there);
  const at = list.findIndex((slide) => slide.id === current.value);
  const next = list[(at + by + list.length) % list.length];
  if (next) openSlide(next.id, false);
}

/** Keys belong to what is being typed into, or pressed, before they belong to the slide. */
function isTaken(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || help.value) return true;
  if (target.matches("input:not([type=checkbox]), select, textarea")) return true;
  return event.key === "Enter" && target.matches("button, summary");
}

export function useKeys(): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && (event.key === "z" || event.key === "y")) {
        const drawing = paneOf(current.value)?.drawing;
        if (event.key === "y" || event.shiftKey) drawing?.redo();
        else drawing?.undo();
        event.preventDefault();
        return;
      }
      const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act || isTaken(event)) return;
      event.preventDefault();
      act(event);
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}
