import { useEffect } from "preact/hooks";
import { closePane } from "./Bar";
import { judge, relabel, reshape } from "./Corrections";
import { LABELS, take } from "./Draw";
import { nextTab } from "./Panels";
import { labelTile, nextToLabel } from "./Queue";
import { nextFinding } from "./Regions";
import { openSlide } from "./SlideList";
import { drawTool, TOOLS } from "../hand";
import { dropShape, endShape, focusSlide, goTo, home, move, paneOf, placeCorner, saveScreenshot, takeBack, zoomBy, zoomTo } from "../stage";
import { aiming, allLayers, blind, current, help, linked, shownSlides, tab, tool, type Tool } from "../state";

const MAGNIFIED = [1.25, 2.5, 5, 10, 20, 40];

/** Screen pixels that a corner moves, and with Shift. */
const [FINE, COARSE] = [1, 10];

type Act = (event: KeyboardEvent) => void;

const drawing = () => paneOf(current.value)?.drawing;

const KEYS: Record<string, Act> = {
  ArrowLeft: arrow(-1, 0),
  ArrowRight: arrow(1, 0),
  ArrowUp: arrow(0, -1),
  ArrowDown: arrow(0, 1),
  "+": () => zoomBy(1.5),
  "=": () => zoomBy(1.5),
  "-": () => zoomBy(1 / 1.5),
  f: home,
  n: () => nextFinding(1),
  p: () => nextFinding(-1),
  q: (event) => void nextToLabel(event.shiftKey ? -1 : 1),
  y: () => judge("accept"),
  u: () => judge("reject"),
  c: relabel,
  j: reshape,
  o: () => (allLayers.value = !allLayers.value && !blind.value),
  t: (event) => nextTab(event.shiftKey ? -1 : 1),
  v: () => {
    drawTool.value = null;
    measure("look");
  },
  l: () => measure("length"),
  a: () => measure("area"),
  m: (event) => selectShape(event.shiftKey ? -1 : 1),
  ",": () => drawing()?.corners.next(-1),
  ".": () => drawing()?.corners.next(1),
  Insert: () => drawing()?.corners.insert(),
  " ": placeCorner,
  Backspace: () => {
    if (!drawing()?.corners.remove()) takeBack();
  },
  Enter: () => {
    if (drawTool.value) drawing()?.hand.finish();
    else endShape();
  },
  Escape: () => {
    drawTool.value = null;
    aiming.value = false;
    drawing()?.deselect();
    dropShape();
  },
  Delete: () => drawing()?.removeSelected(),
  "[": () => neighbour(-1),
  "]": () => neighbour(1),
  k: () => (linked.value = !linked.value),
  x: closePane,
  s: () => void saveScreenshot(),
  "/": () => document.getElementById("search")?.focus(),
  "?": () => (help.value = true),
  ...Object.fromEntries(MAGNIFIED.map((steps, i) => [String(i + 1), () => zoomTo(steps)])),
  ...Object.fromEntries(TOOLS.map((name) => [LABELS[name].key.toLowerCase(), () => draw(name)])),
};

/** Arrows move the view; with Alt the corner that was chosen. */
function arrow(x: number, y: number): Act {
  return (event) => {
    const by = event.shiftKey ? COARSE : FINE;
    if (event.altKey) drawing()?.corners.move(x * by, y * by);
    else move(x, y, event.shiftKey);
  };
}

function draw(name: (typeof TOOLS)[number]): void {
  tab.value = "annotate";
  take(name);
}

function measure(name: Tool): void {
  tool.value = name;
  focusSlide();
}

function selectShape(by: number): void {
  const place = drawing()?.selectNext(by);
  const view = paneOf(current.value)?.view;
  tab.value = "annotate";
  if (place && view) goTo({ ...view, x: place[0], y: place[1] });
}

function neighbour(by: number): void {
  const list = shownSlides.value.filter((slide) => slide.there);
  const at = list.findIndex((slide) => slide.id === current.value);
  const next = list[(at + by + list.length) % list.length];
  if (next) openSlide(next.id, false);
}

/** Keys belong to what is being typed into, or pressed, before they belong to the slide. */
function isTaken(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return true;
  if (event.altKey && !event.key.startsWith("Arrow")) return true;
  if (target.matches("input[type=radio], input[type=range]")) return /^(Arrow|Page|Home|End)/.test(event.key);
  if (target.matches("input:not([type=checkbox]), select, textarea")) return true;
  return (event.key === "Enter" || event.key === " ") && target.matches("button, summary, a, input");
}

export function useKeys(): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && (event.key === "z" || event.key === "y")) {
        if ((event.target as HTMLElement).matches("input, textarea")) return;
        if (event.key === "y" || event.shiftKey) drawing()?.redo();
        else drawing()?.undo();
        event.preventDefault();
        return;
      }
      const digit = event.shiftKey && /^Digit[1-9]$/.test(event.code) ? Number(event.code.slice(5)) : 0;
      if (digit && !isTaken(event)) {
        event.preventDefault();
        labelTile(digit);
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
