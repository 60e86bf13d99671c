/** Shapes as the server keeps them, and as the drawing library draws them. */

import type { ImageAnnotation, MultiPolygonElement, Shape } from "@annotorious/openseadragon";
import { areaOf } from "./scale";

/** The library's names; as text, so that the page does not wait for the library. */
const ShapeType = { RECTANGLE: "RECTANGLE", ELLIPSE: "ELLIPSE", POLYGON: "POLYGON", MULTIPOLYGON: "MULTIPOLYGON", POLYLINE: "POLYLINE", LINE: "LINE" } as const;

export type Point = [number, number];

export type Geometry =
  | { type: "Point"; coordinates: Point }
  | { type: "LineString"; coordinates: Point[] }
  | { type: "Polygon"; coordinates: Point[][] }
  | { type: "MultiPolygon"; coordinates: Point[][][] };

export interface Kept {
  id: string;
  kind: string;
  class_name: string | null;
  geometry: Geometry;
  author: string;
  created: string;
  changed_by: string;
  changed: string;
  version: number;
  origin: Origin | null;
}

/** The finding of a model that a shape corrects or confirms. */
export interface Origin {
  key: string;
  number: number;
  verdict: "accept" | "reject" | "relabel" | "reshape";
  predicted: string | null;
  score: number | null;
}

/** Corners of an ellipse's outline. */
export const AROUND = 72;
const CURVE = 12;

export function boundsOf(points: Point[]) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  return { minX: Math.min(...xs), minY: Math.min(...ys), maxX: Math.max(...xs), maxY: Math.max(...ys) };
}

function closed(points: Point[]): Point[] {
  const [first, last] = [points[0]!, points[points.length - 1]!];
  return first[0] === last[0] && first[1] === last[1] ? points : [...points, first];
}

function opened(ring: Point[]): Point[] {
  return closed(ring).slice(0, -1);
}

/** What is drawn, as the server keeps it. `kind` is what it was drawn as, where the shape alone does not tell. */
export function kept(annotation: ImageAnnotation, drawnAs?: string): { kind: string; geometry: Geometry } {
  const { selector } = annotation.target;
  const shape = selector.geometry as unknown as Record<string, never>;
  switch (selector.type as string) {
    case ShapeType.RECTANGLE: {
      const { x, y, w, h } = shape as unknown as { x: number; y: number; w: number; h: number };
      const ring: Point[] = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]; // prettier-ignore
      return { kind: "rectangle", geometry: { type: "Polygon", coordinates: [ring] } };
    }
    case ShapeType.ELLIPSE: {
      const { cx, cy, rx, ry } = shape as unknown as { cx: number; cy: number; rx: number; ry: number };
      if (drawnAs === "point") return { kind: "point", geometry: { type: "Point", coordinates: [cx, cy] } };
      const turn = (i: number) => (2 * Math.PI * i) / AROUND;
      const ring = Array.from({ length: AROUND }, (_, i): Point => [cx + rx * Math.cos(turn(i)), cy + ry * Math.sin(turn(i))]);
      return { kind: "ellipse", geometry: { type: "Polygon", coordinates: [closed(ring)] } };
    }
    case ShapeType.MULTIPOLYGON: {
      const { polygons } = shape as unknown as { polygons: MultiPolygonElement[] };
      const coordinates = polygons.map((one) => one.rings.map((ring) => closed(ring.points as Point[])));
      if (coordinates.length === 1) return { kind: drawnAs ?? "polygon", geometry: { type: "Polygon", coordinates: coordinates[0]! } };
      return { kind: drawnAs === "brush" ? "brush" : "multipolygon", geometry: { type: "MultiPolygon", coordinates } };
    }
    case ShapeType.POLYLINE: {
      const line = bent(shape as unknown as Bent);
      if ((shape as unknown as Bent).closed) return { kind: "polygon", geometry: { type: "Polygon", coordinates: [closed(line)] } };
      return { kind: "line", geometry: { type: "LineString", coordinates: line } };
    }
    case ShapeType.LINE:
      return { kind: "line", geometry: { type: "LineString", coordinates: (shape as unknown as { points: Point[] }).points } };
    default: {
      const { points } = shape as unknown as { points: Point[] };
      return { kind: stillIs(drawnAs ?? "polygon", points), geometry: { type: "Polygon", coordinates: [closed(points)] } };
    }
  }
}

/** What a ring is after its corners were moved: a rectangle or an ellipse may have become a polygon. */
function stillIs(kind: string, ring: Point[]): string {
  if (kind !== "rectangle" && kind !== "ellipse") return kind;
  const { minX, minY, maxX, maxY } = boundsOf(ring);
  const share = kind === "rectangle" ? 1 : ((AROUND / 2) * Math.sin((2 * Math.PI) / AROUND)) / 4;
  const whole = Math.abs(areaOf(ring) / ((maxX - minX) * (maxY - minY)) - share) < 1e-3;
  return whole && ring.length === (kind === "rectangle" ? 4 : AROUND) ? kind : "polygon";
}

interface Bent {
  points: { point: Point; inHandle?: Point; outHandle?: Point }[];
  closed?: boolean;
}

/** The points of a path, its curves (cubic Bézier) cut into short lines. */
function bent({ points, closed: round }: Bent): Point[] {
  const line: Point[] = [points[0]!.point];
  const last = round ? points.length : points.length - 1;
  for (let i = 0; i < last; i++) {
    const [from, to] = [points[i]!, points[(i + 1) % points.length]!];
    if (!from.outHandle && !to.inHandle) {
      line.push(to.point);
      continue;
    }
    const [a, b, c, d] = [from.point, from.outHandle ?? from.point, to.inHandle ?? to.point, to.point];
    for (let j = 1; j <= CURVE; j++) line.push(bezier(a, b, c, d, j / CURVE));
  }
  return round ? line.slice(0, -1) : line;
}

function bezier(a: Point, b: Point, c: Point, d: Point, t: number): Point {
  const s = 1 - t;
  const at = (i: 0 | 1) => s ** 3 * a[i] + 3 * s * s * t * b[i] + 3 * s * t * t * c[i] + t ** 3 * d[i];
  return [at(0), at(1)];
}

/** What the server keeps, as the drawing library draws it. A point is a small circle of `radius`. */
export function drawn(one: Pick<Kept, "id" | "class_name" | "geometry">, radius: number): ImageAnnotation {
  const selector = selectorOf(one.geometry, radius);
  return {
    id: one.id,
    bodies: one.class_name ? [{ id: `${one.id}-class`, annotation: one.id, purpose: "classifying", value: one.class_name }] : [],
    target: { annotation: one.id, selector },
  } as unknown as ImageAnnotation;
}

function selectorOf(geometry: Geometry, radius: number): Shape {
  switch (geometry.type) {
    case "Point": {
      const [cx, cy] = geometry.coordinates;
      const bounds = { minX: cx - radius, minY: cy - radius, maxX: cx + radius, maxY: cy + radius };
      return { type: ShapeType.ELLIPSE, geometry: { cx, cy, rx: radius, ry: radius, bounds } } as unknown as Shape;
    }
    case "LineString": {
      const points = geometry.coordinates.map((point) => ({ type: "CORNER", point }));
      return { type: ShapeType.POLYLINE, geometry: { points, bounds: boundsOf(geometry.coordinates) } } as unknown as Shape;
    }
    case "Polygon": {
      if (geometry.coordinates.length > 1) return multi([geometry.coordinates]);
      const points = opened(geometry.coordinates[0]!);
      return { type: ShapeType.POLYGON, geometry: { points, bounds: boundsOf(points) } } as unknown as Shape;
    }
    case "MultiPolygon":
      return multi(geometry.coordinates);
  }
}

function multi(coordinates: Point[][][]): Shape {
  const polygons = coordinates.map((rings) => ({
    rings: rings.map((ring) => ({ points: opened(ring) })),
    bounds: boundsOf(rings[0]!),
  }));
  return { type: ShapeType.MULTIPOLYGON, geometry: { polygons, bounds: boundsOf(coordinates.flat(2)) } } as unknown as Shape;
}

/** A line with fewer points that strays no further than `tolerance` (Douglas and Peucker 1973). */
export function simplified(points: Point[], tolerance: number): Point[] {
  if (points.length < 3) return points;
  const [first, last] = [points[0]!, points[points.length - 1]!];
  let [farthest, at] = [0, 0];
  for (let i = 1; i < points.length - 1; i++) {
    const distance = fromLine(points[i]!, first, last);
    if (distance > farthest) [farthest, at] = [distance, i];
  }
  if (farthest <= tolerance) return [first, last];
  return [...simplified(points.slice(0, at + 1), tolerance).slice(0, -1), ...simplified(points.slice(at), tolerance)];
}

function fromLine([x, y]: Point, [x1, y1]: Point, [x2, y2]: Point): number {
  const length = Math.hypot(x2 - x1, y2 - y1);
  if (length === 0) return Math.hypot(x - x1, y - y1);
  return Math.abs((x2 - x1) * (y1 - y) - (x1 - x) * (y2 - y1)) / length;
}
