/** From strokes of a pointer to shapes in slide pixels. */

import { contours } from "d3-contour";
import { AROUND, simplified, type Geometry, type Point } from "./shapes";

/** Grey levels by which a pixel may differ from the one that the wand touched. */
const WAND = 24;

export function ellipse([x1, y1]: Point, [x2, y2]: Point): Point[] {
  const [cx, cy, rx, ry] = [(x1 + x2) / 2, (y1 + y2) / 2, Math.abs(x2 - x1) / 2, Math.abs(y2 - y1) / 2];
  const turn = (i: number) => (2 * Math.PI * i) / AROUND;
  return Array.from({ length: AROUND }, (_, i) => [cx + rx * Math.cos(turn(i)), cy + ry * Math.sin(turn(i))]);
}

/** The pixels of a picture that are connected to a first one and of nearly its colour. */
export function flooded(picture: ImageData, x: number, y: number): Uint8Array {
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
export function traced(mask: Uint8Array, width: number, height: number, place: (point: Point) => Point, tolerance: number): Geometry | null {
  const [found] = contours().size([width, height]).thresholds([0.5])(Array.from(mask));
  const parts = (found?.coordinates ?? []) as unknown as Point[][][];
  const largest = [...parts].sort((a, b) => b[0]!.length - a[0]!.length)[0];
  if (!largest) return null;
  const rings = largest.map((ring) => simplified(ring.map(place), tolerance)).filter((ring) => ring.length > 3);
  return rings.length ? { type: "Polygon", coordinates: rings } : null;
}

/** What a round brush covers along a stroke, as a polygon; drawn to a mask of the screen's resolution. */
export function brushed(stroke: Point[], radius: number, step: number): Geometry | null {
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
