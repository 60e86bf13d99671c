/** The tools that shapes are drawn with: by pointer, or corner by corner from the keyboard. */

import { signal } from "@preact/signals";
import OpenSeadragon from "openseadragon";
import { simplified, type Geometry, type Point } from "./shapes";
import { brushed, ellipse, flooded, traced } from "./strokes";

export const TOOLS = ["polygon", "freehand", "brush", "rectangle", "ellipse", "line", "wand", "point"] as const;
export type DrawTool = (typeof TOOLS)[number];

export const drawTool = signal<DrawTool | null>(null);

/** Tools that draw while the pointer is held down. */
const DRAGGED = new Set<DrawTool | null>(["freehand", "brush", "rectangle", "ellipse", "line"]);

/** Tools that are done once they have two corners. */
const PAIRED = new Set<DrawTool | null>(["rectangle", "ellipse", "line"]);

/** Screen pixels. */
const BRUSH = 14;
const NEAR = 10;

export interface Sketch {
  points: Point[];
  closed: boolean;
}

export class Hand {
  private stroke: Point[] = [];
  private placed: Point[] = [];
  private readonly stop: () => void;

  constructor(
    private readonly viewer: OpenSeadragon.Viewer,
    private readonly step: () => number,
    private readonly preview: (sketch: Sketch | null) => void,
    private readonly add: (kind: string, geometry: Geometry) => void,
  ) {
    viewer.addHandler("canvas-press", (event) => this.press(event.position));
    viewer.addHandler("canvas-drag", (event) => this.drag(event as never));
    viewer.addHandler("canvas-drag-end", () => this.lift());
    viewer.addHandler("canvas-click", (event) => this.click(event as never));
    // at once, not after the next frame as the page's own effects: the first corner may come before that
    this.stop = drawTool.subscribe((tool) => this.use(tool));
  }

  destroy(): void {
    this.stop();
  }

  private use(tool: DrawTool | null): void {
    this.placed = [];
    this.preview(null);
    this.viewer.element.style.cursor = tool ? "crosshair" : "";
  }

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
    this.showStroke(this.stroke);
  }

  private showStroke(stroke: Point[]): void {
    const open = drawTool.value === "brush" || drawTool.value === "line" || drawTool.value === "polygon";
    this.preview({ points: this.outline(stroke), closed: !open && stroke.length > 1 });
  }

  /** What has been dragged so far, as points. */
  private outline(stroke: Point[]): Point[] {
    const [from, to] = [stroke[0]!, stroke[stroke.length - 1]!];
    if (drawTool.value === "rectangle") return [from, [to[0], from[1]], to, [from[0], to[1]]];
    if (drawTool.value === "ellipse") return ellipse(from, to);
    return drawTool.value === "line" ? [from, to] : stroke;
  }

  private lift(): void {
    if (!DRAGGED.has(drawTool.value) || this.stroke.length < 2) return;
    this.made(this.stroke);
    this.stroke = [];
  }

  /** Make a shape of a stroke, with the tool at hand. */
  private made(stroke: Point[]): void {
    const step = this.step();
    const line = this.outline(stroke);
    const tool = drawTool.value;
    this.preview(null);
    if (tool === "brush") {
      const found = brushed(stroke, BRUSH * step, step);
      if (found) this.add("brush", found);
    } else if (tool === "line") {
      this.add("line", { type: "LineString", coordinates: line });
    } else {
      this.ring(tool === "rectangle" || tool === "ellipse" ? tool : "polygon", tool === "freehand" ? simplified(line, step * 0.75) : line);
    }
  }

  private ring(kind: string, ring: Point[]): void {
    if (ring.length > 2) this.add(kind, { type: "Polygon", coordinates: [[...ring, ring[0]!]] });
  }

  /** End the shape whose corners were clicked or placed. */
  finish(): void {
    const corners = this.placed;
    this.placed = [];
    this.preview(null);
    if (corners.length > 1) this.made(corners);
  }

  /** Take back the corner that was placed last. */
  back(): void {
    this.placed.pop();
    if (this.placed.length) this.showStroke(this.placed);
    else this.preview(null);
  }

  private click(event: { position: { x: number; y: number }; quick: boolean }): void {
    if (!event.quick) return;
    const tool = drawTool.value;
    if (tool === "polygon" || tool === "point" || tool === "wand") this.at(event.position);
  }

  /** Use the tool at hand at a place of the screen, as a click does; without a place in the middle of the view. */
  at(position: { x: number; y: number } = this.middle()): void {
    const [x, y] = this.toSlide(position);
    if (drawTool.value === "point") {
      this.add("point", { type: "Point", coordinates: [x, y] });
    } else if (drawTool.value === "wand") {
      const found = this.touched(position);
      if (found) this.add("polygon", found);
    } else {
      this.corner([x, y]);
    }
  }

  private middle(): { x: number; y: number } {
    const { clientWidth, clientHeight } = this.viewer.element;
    return { x: clientWidth / 2, y: clientHeight / 2 };
  }

  /** Add a corner; one near the first closes a polygon, and the second ends a rectangle, an ellipse or a line. */
  private corner(point: Point): void {
    const first = this.placed[0];
    const near = first && this.placed.length > 2 && Math.hypot(point[0] - first[0], point[1] - first[1]) < NEAR * this.step();
    if (!near) this.placed.push(point);
    if (near || (PAIRED.has(drawTool.value) && this.placed.length === 2)) this.finish();
    else this.showStroke(this.placed);
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
