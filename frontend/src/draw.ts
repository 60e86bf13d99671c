/** Drawing on a pane. The library shows, selects and edits shapes; they are drawn by tools of
 * our own, which work in slide pixels at any zoom. */

import { createOSDAnnotator, type ImageAnnotation, type OpenSeadragonAnnotator } from "@annotorious/openseadragon";
import { contours } from "d3-contour";
import { signal } from "@preact/signals";
import "@annotorious/openseadragon/annotorious-openseadragon.css";
import { ask, of, type Facts } from "./api";
import { flush, send, unsaved, versions, whenRefused } from "./outbox";
import { AROUND, drawn, kept, simplified, type Geometry, type Kept, type Point } from "./shapes";
import OpenSeadragon from "openseadragon";

export const TOOLS = ["polygon", "freehand", "brush", "rectangle", "ellipse", "line", "wand", "point"] as const;
export type DrawTool = (typeof TOOLS)[number];

/** Tools that draw while the pointer is held down. */
const DRAGGED = new Set<DrawTool | null>(["freehand", "brush", "rectangle", "ellipse", "line"]);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#332288"];

/** Screen pixels. */
const BRUSH = 14;
const POINT = 6;
const NEAR = 10;
const REST_MS = 350;

/** Grey levels by which a pixel may differ from the one that the wand touched. */
const WAND = 24;

export const drawTool = signal<DrawTool | null>(null);
export const className = signal("tumour");
export const classNames = signal<string[]>(["tumour", "stroma", "necrosis", "ignore"]);
export const counts = signal<Record<string, number>>({});

export function colourOf(name: string | null): string {
  const index = name === null ? -1 : classNames.value.indexOf(name);
  return index < 0 ? "#666666" : COLOURS[index % COLOURS.length]!;
}

interface Step {
  back(): void;
  again(): void;
}

export class Drawing {
  private readonly annotator: OpenSeadragonAnnotator;
  private readonly kinds = new Map<string, string>();
  private readonly timers = new Map<string, number>();
  private stroke: Point[] = [];
  private corners: Point[] = [];
  private done: Step[] = [];
  private undone: Step[] = [];

  constructor(
    private readonly viewer: OpenSeadragon.Viewer,
    private readonly facts: Facts,
    private readonly step: () => number,
    private readonly preview: (points: Point[], closed: boolean) => void,
    private readonly say: (error: unknown) => void,
  ) {
    this.annotator = createOSDAnnotator(viewer, { drawingEnabled: false, autoSave: true } as never);
    this.annotator.setStyle(((one: ImageAnnotation) => {
      const colour = colourOf(this.classOf(one));
      return { fill: colour, fillOpacity: 0.18, stroke: colour, strokeWidth: 2 };
    }) as never);
    this.annotator.on("createAnnotation", (one) => this.created(one));
    this.annotator.on("updateAnnotation", (one, before) => {
      this.changed(one);
      this.did({ back: () => this.replace(before), again: () => this.replace(one) });
    });
    viewer.addHandler("canvas-press", (event) => this.press(event.position));
    viewer.addHandler("canvas-drag", (event) => this.drag(event as never));
    viewer.addHandler("canvas-drag-end", () => this.lift());
    viewer.addHandler("canvas-click", (event) => this.click(event as never));
    whenRefused(facts.id, (_, problem) => this.refused(problem));
    void flush()
      .then(() => this.load())
      .catch(say);
  }

  destroy(): void {
    whenRefused(this.facts.id, null);
    this.annotator.destroy();
  }

  async load(): Promise<void> {
    const shapes = await ask<Kept[]>(of(this.facts.id, "shapes"));
    const names = shapes.map((one) => one.class_name).filter((name): name is string => name !== null);
    classNames.value = [...new Set([...classNames.value, ...names])];
    for (const one of shapes) {
      versions.set(one.id, one.version);
      this.kinds.set(one.id, one.kind);
    }
    this.annotator.setAnnotations(shapes.map((one) => drawn(one, POINT * 2)) as never, true);
    this.tally();
  }

  use(tool: DrawTool | null): void {
    this.corners = [];
    this.preview([], false);
    this.viewer.element.style.cursor = tool ? "crosshair" : "";
  }

  undo(): void {
    const step = this.done.pop();
    if (!step) return;
    step.back();
    this.undone.push(step);
  }

  redo(): void {
    const step = this.undone.pop();
    if (!step) return;
    step.again();
    this.done.push(step);
  }

  removeSelected(): void {
    for (const one of this.annotator.getSelected()) {
      const { kind, geometry } = kept(one, this.kinds.get(one.id));
      const placed = this.placed(kind, geometry, this.classOf(one));
      this.drop(one.id);
      let now = "";
      this.did({ back: () => (now = placed()), again: () => this.drop(now) });
    }
  }

  private did(step: Step): void {
    this.done.push(step);
    this.undone = [];
  }

  private replace(one: ImageAnnotation): void {
    this.annotator.updateAnnotation(one);
    this.changed(one);
  }

  private drop(id: string): void {
    this.annotator.removeAnnotation(id);
    send({ action: "remove", slide: this.facts.id, id });
    this.tally();
  }

  reclassSelected(name: string): void {
    for (const one of this.annotator.getSelected()) {
      const body = { id: `${one.id}-class`, annotation: one.id, purpose: "classifying", value: name };
      const now = { ...one, bodies: [body] } as unknown as ImageAnnotation;
      this.annotator.updateAnnotation(now);
      this.changed(now);
    }
    this.tally();
  }

  // -------------------------------------------------------------- what the library tells
  private created(one: ImageAnnotation): void {
    const body = { id: `${one.id}-class`, annotation: one.id, purpose: "classifying", value: className.value };
    const named = one.bodies.length ? one : ({ ...one, bodies: [body] } as unknown as ImageAnnotation);
    if (!one.bodies.length) this.annotator.updateAnnotation(named);
    this.post("draw", named);
    this.tally();
  }

  private changed(one: ImageAnnotation): void {
    window.clearTimeout(this.timers.get(one.id));
    this.timers.set(
      one.id,
      window.setTimeout(() => this.post("change", one), REST_MS),
    );
  }

  private post(action: "draw" | "change", one: ImageAnnotation): void {
    const { kind, geometry } = kept(one, this.kinds.get(one.id));
    send({ action, slide: this.facts.id, id: one.id, shape: { kind, geometry, class_name: this.classOf(one) } });
  }

  private refused(problem: Error): void {
    this.say(problem);
    void this.load().catch(this.say);
  }

  private classOf(one: ImageAnnotation): string | null {
    const body = one.bodies.find((part) => part.purpose === "classifying");
    return body ? String(body.value) : null;
  }

  private tally(): void {
    const found: Record<string, number> = {};
    for (const one of this.annotator.getAnnotations()) {
      const name = this.classOf(one) ?? "no class";
      found[name] = (found[name] ?? 0) + 1;
    }
    counts.value = found;
  }

  private add(kind: string, geometry: Geometry, name: string | null): void {
    const placed = this.placed(kind, geometry, name);
    let id = placed();
    this.did({ back: () => this.drop(id), again: () => (id = placed()) });
  }

  /** Puts a shape on the slide under a new id, as often as it is called: what was removed does not come back as itself. */
  private placed(kind: string, geometry: Geometry, name: string | null): () => string {
    return () => {
      const id = crypto.randomUUID();
      this.kinds.set(id, kind);
      this.annotator.addAnnotation(drawn({ id, class_name: name, geometry }, POINT * this.step()) as never);
      send({ action: "draw", slide: this.facts.id, id, shape: { kind, geometry, class_name: name } });
      this.tally();
      return id;
    };
  }

  // -------------------------------------------------------------- our own tools
  private toSlide(position: { x: number; y: number }): Point {
    const place = new OpenSeadragon.Point(position.x, position.y);
    const point = this.viewer.world.getItemAt(0).viewerElementToImageCoordinates(place);
    return [point.x, point.y];
  }

  private press(position: { x: number; y: number }): void {
    this.stroke = DRAGGED.has(drawTool.value) ? [this.toSlide(position)] : [];
  }

  private drag(event: { position: { x: number; y: number }; preventDefaultAction: boolean }): void {
    if (!DRAGGED.has(drawTool.value) || !this.stroke.length) return;
    event.preventDefaultAction = true;
    this.stroke.push(this.toSlide(event.position));
    const outline = this.outline();
    this.preview(outline, drawTool.value !== "brush" && drawTool.value !== "line");
  }

  /** What has been dragged so far, as points. */
  private outline(): Point[] {
    const [from, to] = [this.stroke[0]!, this.stroke[this.stroke.length - 1]!];
    if (drawTool.value === "rectangle") return [from, [to[0], from[1]], to, [from[0], to[1]]];
    if (drawTool.value === "ellipse") return ellipse(from, to);
    return drawTool.value === "line" ? [from, to] : this.stroke;
  }

  private lift(): void {
    if (!DRAGGED.has(drawTool.value) || this.stroke.length < 2) return;
    const step = this.step();
    const line = this.outline();
    const tool = drawTool.value;
    this.preview([], false);
    if (tool === "brush") {
      const found = brushed(this.stroke, BRUSH * step, step);
      if (found) this.add("brush", found, className.value);
    } else if (tool === "line") {
      this.add("line", { type: "LineString", coordinates: line }, className.value);
    } else {
      this.ring(tool === "freehand" ? "polygon" : tool!, tool === "freehand" ? simplified(line, step * 0.75) : line);
    }
    this.stroke = [];
  }

  private ring(kind: string, ring: Point[]): void {
    if (ring.length > 2) this.add(kind, { type: "Polygon", coordinates: [[...ring, ring[0]!]] }, className.value);
  }

  /** Close the polygon whose corners were clicked. */
  finish(): void {
    const corners = this.corners;
    this.corners = [];
    this.preview([], false);
    this.ring("polygon", corners);
  }

  private click(event: { position: { x: number; y: number }; quick: boolean }): void {
    if (!event.quick) return;
    const [x, y] = this.toSlide(event.position);
    if (drawTool.value === "polygon") this.corner([x, y]);
    if (drawTool.value === "point") this.add("point", { type: "Point", coordinates: [x, y] }, className.value);
    if (drawTool.value === "wand") {
      const found = this.touched(event.position);
      if (found) this.add("polygon", found, className.value);
    }
  }

  /** Add a corner; a click near the first one closes the polygon. */
  private corner(point: Point): void {
    const first = this.corners[0];
    if (first && this.corners.length > 2 && Math.hypot(point[0] - first[0], point[1] - first[1]) < NEAR * this.step()) {
      this.finish();
      return;
    }
    this.corners.push(point);
    this.preview(this.corners, false);
  }

  /** What is connected to a screen pixel and of its colour, as a polygon. */
  private touched(position: { x: number; y: number }): Geometry | null {
    const canvas = this.viewer.drawer.canvas as HTMLCanvasElement;
    const ratio = canvas.width / this.viewer.element.clientWidth;
    const picture = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    const mask = flooded(picture, Math.round(position.x * ratio), Math.round(position.y * ratio));
    return traced(mask, canvas.width, canvas.height, ([x, y]) => this.toSlide({ x: x / ratio, y: y / ratio }), this.step() * 0.75);
  }
}

function ellipse([x1, y1]: Point, [x2, y2]: Point): Point[] {
  const [cx, cy, rx, ry] = [(x1 + x2) / 2, (y1 + y2) / 2, Math.abs(x2 - x1) / 2, Math.abs(y2 - y1) / 2];
  const turn = (i: number) => (2 * Math.PI * i) / AROUND;
  return Array.from({ length: AROUND }, (_, i) => [cx + rx * Math.cos(turn(i)), cy + ry * Math.sin(turn(i))]);
}

/** The pixels of a picture that are connected to a first one and of nearly its colour. */
function flooded(picture: ImageData, x: number, y: number): Uint8Array {
  const { width, height, data } = picture;
  const mask = new Uint8Array(width * height);
  const first = (y * width + x) * 4;
  const alike = (i: number) =>
    Math.max(Math.abs(data[i]! - data[first]!), Math.abs(data[i + 1]! - data[first + 1]!), Math.abs(data[i + 2]! - data[first + 2]!)) <= WAND;
  const open = [y * width + x];
  while (open.length) {
    const at = open.pop()!;
    if (mask[at] || !alike(at * 4)) continue;
    mask[at] = 1;
    if (at % width > 0) open.push(at - 1);
    if (at % width < width - 1) open.push(at + 1);
    if (at >= width) open.push(at - width);
    if (at < width * (height - 1)) open.push(at + width);
  }
  return mask;
}

/** The outline of a mask: its largest part with its holes. */
function traced(mask: Uint8Array, width: number, height: number, place: (point: Point) => Point, tolerance: number): Geometry | null {
  const [found] = contours().size([width, height]).thresholds([0.5])(Array.from(mask));
  const parts = (found?.coordinates ?? []) as unknown as Point[][][];
  const largest = [...parts].sort((a, b) => b[0]!.length - a[0]!.length)[0];
  if (!largest) return null;
  const rings = largest.map((ring) => simplified(ring.map(place), tolerance)).filter((ring) => ring.length > 3);
  return rings.length ? { type: "Polygon", coordinates: rings } : null;
}

/** What a round brush covers along a stroke, as a polygon; drawn to a mask of the screen's resolution. */
function brushed(stroke: Point[], radius: number, step: number): Geometry | null {
  const margin = radius + 2 * step;
  const xs = stroke.map(([x]) => x);
  const ys = stroke.map(([, y]) => y);
  const [left, top] = [Math.min(...xs) - margin, Math.min(...ys) - margin];
  const width = Math.ceil((Math.max(...xs) + margin - left) / step);
  const height = Math.ceil((Math.max(...ys) + margin - top) / step);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d")!;
  [pen.lineWidth, pen.lineCap, pen.lineJoin] = [(2 * radius) / step, "round", "round"];
  pen.beginPath();
  stroke.forEach(([x, y], i) => (i ? pen.lineTo((x - left) / step, (y - top) / step) : pen.moveTo((x - left) / step, (y - top) / step)));
  pen.stroke();
  const { data } = pen.getImageData(0, 0, width, height);
  const mask = Uint8Array.from({ length: width * height }, (_, i) => (data[4 * i + 3]! > 127 ? 1 : 0));
  return traced(mask, width, height, ([x, y]) => [left + x * step, top + y * step], step * 0.5);
}

export { unsaved };
