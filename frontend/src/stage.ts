/** What can be done with the panes: moving, measuring, taking pictures. */

import { signal } from "@preact/signals";
import { api, type Facts } from "./api";
import { drawTool } from "./hand";
import type { Shape } from "./ink";
import { Pane } from "./pane";
import { areaOf, areaText, lengthOf, lengthText, scaleBar, umPerPixel } from "./scale";
import * as state from "./state";

const mounted = new Map<string, Pane>();
let drawn: [number, number][] = [];
let growing: Shape | null = null;

/** What is measured, in words. */
export const measure = signal("");

const COLOUR = { length: "#0072B2", area: "#D55E00", pointed: "#FFC400" };

export function paneOf(slide: string | null): Pane | undefined {
  return slide === null ? undefined : mounted.get(slide);
}

export async function mount(host: HTMLElement, slide: string): Promise<Pane> {
  const about = state.facts.value[slide] ?? (await api.facts(slide));
  if (!state.facts.value[slide] && about.reading) state.follow(slide, about.reading); // begun before the page was loaded anew
  state.facts.value = { ...state.facts.value, [slide]: about };
  const pane = new Pane(host, about, state.colour.value, { moved, clicked, failed: state.say });
  mounted.set(slide, pane);
  if (slide === state.current.value && state.view.value) pane.show(state.view.value);
  if (!state.overlays.value[slide]) void fetchLayers(slide);
  return pane;
}

/** The slide is on screen first; what lies over it may come later. */
async function fetchLayers(slide: string): Promise<void> {
  try {
    const layers = await api.overlays(slide);
    state.overlays.value = { ...state.overlays.value, [slide]: layers };
    const found = layers.withheld ? [] : await api.suspicious(slide);
    state.findings.value = { ...state.findings.value, [slide]: found };
  } catch (error) {
    state.say(error);
  }
}

/** What may be seen of a slide has changed: its layers, and the corrections among its shapes. */
export async function fetchAnew(slide: string): Promise<void> {
  picked.value = null;
  await fetchLayers(slide);
  await paneOf(slide)?.drawing.loadAnew();
}

export function unmount(slide: string): void {
  mounted.get(slide)?.destroy();
  mounted.delete(slide);
}

// ---------------------------------------------------------------- moving
function moved(view: state.View, pane: Pane): void {
  if (pane !== paneOf(state.current.value)) {
    if (!state.linked.value) return;
    state.active.value = Math.max(0, state.panes.value.indexOf(pane.facts.id));
  }
  const before = state.view.value;
  if (before && before.x === view.x && before.y === view.y && before.step === view.step) return;
  state.view.value = view;
  if (state.linked.value && before) follow(pane, before, view);
}

/** Others move by the same distance in µm, and by the same factor of magnification. */
function follow(leader: Pane, before: state.View, view: state.View): void {
  for (const other of mounted.values()) {
    const theirs = other === leader ? null : other.view;
    if (!theirs) continue;
    const unit = (leader.facts.mpp ?? 1) / (other.facts.mpp ?? 1);
    other.show({
      x: theirs.x + (view.x - before.x) * unit,
      y: theirs.y + (view.y - before.y) * unit,
      step: view.step * unit,
    });
  }
}

export function goTo(view: state.View, immediately = false): void {
  const pane = paneOf(state.current.value);
  pane?.show(view, immediately);
  if (pane) moved(view, pane);
}

export function move(x: number, y: number, far: boolean): void {
  const pane = paneOf(state.current.value);
  const view = pane?.view;
  if (!pane || !view) return;
  const { clientWidth, clientHeight } = pane.viewer.element;
  const part = far ? 0.8 : 0.2;
  goTo({ ...view, x: view.x + x * clientWidth * part * view.step, y: view.y + y * clientHeight * part * view.step });
}

export function zoomBy(factor: number): void {
  const view = paneOf(state.current.value)?.view;
  if (view) goTo({ ...view, step: view.step / factor });
}

export function zoomTo(magnified: number): void {
  const pane = paneOf(state.current.value);
  if (pane?.view && pane.facts.mpp !== null) goTo({ ...pane.view, step: umPerPixel(magnified) / pane.facts.mpp });
}

export function home(): void {
  for (const [slide, pane] of mounted) if (state.linked.value || slide === state.current.value) pane.home();
}

// ---------------------------------------------------------------- clicking and measuring
function clicked(x: number, y: number, pane: Pane): void {
  state.active.value = Math.max(0, state.panes.value.indexOf(pane.facts.id));
  if (state.tool.value === "look") {
    void pick(x, y, pane);
    return;
  }
  drawn = [...drawn, [x, y]];
  showDrawn(pane);
}

/** What a click found of a model's findings. */
export interface Picked {
  slide: string;
  key: string;
  number: number;
  class: string | null;
  classes: string[];
  numbers: Record<string, number | null>;
  rings: [number, number][][];
}

export const picked = signal<Picked | null>(null);

async function pick(x: number, y: number, pane: Pane): Promise<void> {
  const found = (await objectAt(x, y, pane)) ?? (await tileAt(x, y, pane));
  picked.value = found;
  pane.ink.pointed = found ? { points: found.rings[0]!, closed: true, colour: COLOUR.pointed } : null;
  pane.ink.redraw();
}

async function objectAt(x: number, y: number, pane: Pane): Promise<Picked | null> {
  const slide = pane.facts.id;
  const shown = (state.overlays.value[slide]?.objects ?? []).filter((name) => state.objectLook(name).shown);
  for (const name of state.allLayers.value ? shown : []) {
    const found = await api.at(slide, name, x, y).catch(() => null);
    if (!found) continue;
    const classes = state.objectFacts.value[`${slide}/${name}`]?.classes.map((one) => one.name) ?? [];
    const numbers = { score: found.score, ...found.measurements };
    return { slide, key: `objects/${name}`, number: found.object, class: found.class, classes, numbers, rings: found.rings };
  }
  return null;
}

async function tileAt(x: number, y: number, pane: Pane): Promise<Picked | null> {
  const { tiles, prediction } = state.layers.value;
  const slide = pane.facts.id;
  if (!tiles || !prediction || !state.allLayers.value || !state.overlays.value[slide]?.predictions.includes(prediction)) return null;
  const found = await api.tileAt(slide, prediction, x, y).catch(() => null);
  if (!found) return null;
  return { slide, key: found.key, number: found.row, class: found.class, classes: found.classes, numbers: found.numbers, rings: [cornersOf(found)] };
}

function cornersOf(box: { x: number; y: number; width: number; height: number }): [number, number][] {
  const [right, bottom] = [box.x + box.width, box.y + box.height];
  return [[box.x, box.y], [right, box.y], [right, bottom], [box.x, bottom]]; // prettier-ignore
}

function measured(points: [number, number][], facts: Facts): Shape {
  const closed = state.tool.value === "area";
  const unit = facts.mpp ?? 1;
  const scaled = points.map(([x, y]) => [x * unit, y * unit] as [number, number]);
  const size = closed ? areaOf(scaled) : lengthOf(scaled);
  const known = closed ? areaText(size) : lengthText(size);
  const label = facts.mpp === null ? `${size.toFixed(0)} px${closed ? "²" : ""}` : known;
  return { points, closed, label, colour: closed ? COLOUR.area : COLOUR.length };
}

function showDrawn(pane: Pane): void {
  const shapes = pane.ink.shapes.filter((shape) => shape !== growing);
  growing = drawn.length ? measured(drawn, pane.facts) : null;
  measure.value = growing?.label ?? "";
  pane.ink.shapes = growing ? [...shapes, growing] : shapes;
  pane.ink.redraw();
}

/** Place a corner of what is measured or drawn in the middle of the view. */
export function placeCorner(): void {
  const pane = paneOf(state.current.value);
  const view = pane?.view;
  if (!pane || !view) return;
  state.aiming.value = true;
  if (drawTool.value) pane.drawing.hand.at();
  else if (state.tool.value !== "look") clicked(view.x, view.y, pane);
}

/** Take the corner that was placed last back. */
export function takeBack(): void {
  const pane = paneOf(state.current.value);
  if (!pane) return;
  if (drawTool.value) pane.drawing.hand.back();
  drawn = drawn.slice(0, -1);
  showDrawn(pane);
}

/** Keys go to the slide from here on. */
export function focusSlide(): void {
  paneOf(state.current.value)?.host.focus({ preventScroll: true });
}

export function endShape(): void {
  growing = null;
  drawn = [];
}

export function dropShape(): void {
  const pane = paneOf(state.current.value);
  if (!pane) return;
  if (!drawn.length) pane.ink.shapes = [];
  drawn = [];
  showDrawn(pane);
  state.tool.value = "look";
}

export function pointAt(pane: Pane, box: { x: number; y: number; width: number; height: number }): void {
  pane.ink.pointed = { points: cornersOf(box), closed: true, colour: COLOUR.pointed };
  pane.ink.redraw();
}

/** Look at a box with this much around it, as a part of the smaller side of the view. */
export function lookAt(box: { x: number; y: number; width: number; height: number }, around: number): void {
  const pane = paneOf(state.current.value);
  if (!pane) return;
  const room = Math.min(pane.viewer.element.clientWidth, pane.viewer.element.clientHeight);
  goTo({ x: box.x + box.width / 2, y: box.y + box.height / 2, step: (Math.max(box.width, box.height) * around) / room });
  pointAt(pane, box);
}

// ---------------------------------------------------------------- pictures
export function barOf(pane: Pane, view: state.View) {
  return pane.facts.mpp === null ? null : scaleBar(pane.facts.mpp * view.step, 160);
}

export async function saveScreenshot(): Promise<void> {
  const pane = paneOf(state.current.value);
  const view = pane?.view;
  if (!pane || !view) return;
  try {
    const picture = await pane.screenshot(barOf(pane, view));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(picture);
    link.download = `${pane.facts.id}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    state.say(error);
  }
}
