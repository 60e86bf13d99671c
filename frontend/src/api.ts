/** What the server answers, and how it is asked. Coordinates are level-0 pixels throughout. */

import { call } from "./session";
import type { Reading } from "./ui/Reading";

export interface Listed {
  id: string;
  run: string | null;
  results: string[];
  there: boolean;
  failure: string | null;
}

export interface Level {
  index: number;
  width: number;
  height: number;
  downsample: number;
  tile_width: number;
  tile_height: number;
}

export interface Facts {
  id: string;
  width: number;
  height: number;
  mpp: number | null;
  mpp_source: string | null;
  objective_power: number | null;
  vendor: string;
  has_icc: boolean;
  levels: Level[];
  warnings: string[];
  /** The reading of this slide that you have begun and not ended. */
  reading: Reading | null;
}

export interface ClassOf {
  name: string;
  colour: string;
  count?: number;
}

export interface MapLayer {
  name: string;
  kind: "probabilities" | "labels";
  classes: ClassOf[];
  x: number;
  y: number;
  tile: number;
  levels: { width: number; height: number; downsample: number }[];
}

export interface Overlays {
  maps: MapLayer[];
  objects: string[];
  predictions: string[];
  /** Predictions with probabilities: a queue of tiles to label can be made of them. */
  doubting: string[];
  features: string[];
  tissue: boolean;
  tiles: boolean;
  quality: boolean;
  problems: string[];
  /** True while you read the slide alone: what models found is left out. */
  withheld: boolean;
}

export interface ObjectFacts {
  count: number;
  kept: number;
  classes: Required<ClassOf>[];
  unclassed: number;
  measurements: string[];
  /** Side of a typical object in level-0 pixels. */
  typical_px: number;
}

export interface Histogram {
  edges: number[];
  all: number[];
  kept: number[];
}

type Ring = [number, number][];

export interface ObjectAt {
  object: number;
  class: string | null;
  score: number | null;
  measurements: Record<string, number | null>;
  rings: Ring[];
}

/** What a prediction says of a tile. */
export interface TileAt {
  key: string;
  row: number;
  class: string | null;
  numbers: Record<string, number>;
  classes: string[];
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Queue {
  prediction: string;
  classes: string[];
  labelled: number;
  tiles: number;
  spread_by: "features" | "place";
  queue: (TileAt & { doubt: number })[];
}

export interface Quality {
  side: number;
  usable: number | null;
  flags: { name: string; colour: string; share: number; xy: [number, number][] }[];
}

/** Outlines as they are sent: rings of points, ring by ring. */
export interface Outlines {
  classes: Int32Array;
  /** Of each ring: the object it belongs to, and how many points it has. */
  of: Int32Array;
  sizes: Int32Array;
  xy: Float32Array;
}

export interface Finding {
  x: number;
  y: number;
  width: number;
  height: number;
  score: number;
  class: string;
  model: string;
  why: string;
}

/** GeoJSON: polygons of rings, the first of each outside. */
export interface Tissue {
  geometry: { coordinates: [number, number][][][] };
}

export interface Grid {
  xy: [number, number][];
  side: number;
  names?: string[];
  colours?: string[];
  labels?: number[];
}

/** An answer that is no answer: what was wrong, and what to do now. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly mend: string | null,
  ) {
    super(message);
  }
}

export async function ask<T>(address: string, signal?: AbortSignal): Promise<T> {
  const answer = await call(address, { signal, headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Problem(answer.status, body?.error ?? `the server answered ${answer.status}`, body?.mend ?? null);
  }
  return body as T;
}

/** Ask for a change. All that is not only looked at goes through here. */
export async function tell<T>(method: string, address: string, body?: unknown): Promise<T> {
  const file = body instanceof Blob;
  const answer = await call(address, {
    method,
    headers: body && !file ? { "Content-Type": "application/json" } : undefined,
    body: file ? body : body ? JSON.stringify(body) : undefined,
  });
  const said = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, said?.error ?? `the server answered ${answer.status}`, said?.mend ?? null);
  return said as T;
}

function unpacked(buffer: ArrayBuffer): Outlines {
  const [objects, rings, points] = new Int32Array(buffer, 0, 3) as unknown as [number, number, number];
  let at = 12;
  const next = (count: number) => new Int32Array(buffer, (at += 4 * count) - 4 * count, count);
  next(objects); // rows of the file, which nobody here needs
  const classes = next(objects);
  const of = next(rings);
  const sizes = next(rings);
  return { classes, of, sizes, xy: new Float32Array(buffer, at, 2 * points) };
}

/** The address of a slide, or of something of it. */
export function of(slide: string, ...rest: (string | number)[]): string {
  return ["api/slides", encodeURIComponent(slide), ...rest.map((part) => encodeURIComponent(part))].join("/");
}

export const api = {
  slides: () => ask<Listed[]>("api/slides"),
  facts: (slide: string) => ask<Facts>(of(slide)),
  overlays: (slide: string) => ask<Overlays>(of(slide, "overlays")),
  tissue: (slide: string) => ask<Tissue>(of(slide, "tissue")),
  grid: (slide: string, name?: string) => ask<Grid>(of(slide, "grid") + (name ? `?name=${encodeURIComponent(name)}` : "")),
  suspicious: (slide: string) => ask<Finding[]>(of(slide, "suspicious")),
  objects: (slide: string, name: string, filter: string) => ask<ObjectFacts>(of(slide, "objects", name) + `?${filter}`),
  histogram: (slide: string, name: string, measurement: string, filter: string) =>
    ask<Histogram>(of(slide, "objects", name, "histogram") + `?measurement=${encodeURIComponent(measurement)}&${filter}`),
  outlines: async (slide: string, name: string, box: [number, number, number, number], filter: string, signal: AbortSignal) => {
    const place = `x=${box[0]}&y=${box[1]}&width=${box[2]}&height=${box[3]}`;
    const answer = await call(`${of(slide, "objects", name, "outlines")}?packed=1&${place}&${filter}`, { signal });
    if (!answer.ok) throw new Problem(answer.status, `the server answered ${answer.status}`, null);
    return unpacked(await answer.arrayBuffer());
  },
  quality: (slide: string) => ask<Quality>(of(slide, "quality")),
  queue: (slide: string, name: string) => ask<Queue>(of(slide, "queue") + `?name=${encodeURIComponent(name)}&limit=12`),
  tileAt: (slide: string, name: string, x: number, y: number) => ask<TileAt>(of(slide, "predictions", name, "at") + `?x=${x}&y=${y}`),
  at: (slide: string, name: string, x: number, y: number) => ask<ObjectAt>(of(slide, "objects", name, "at") + `?x=${x}&y=${y}`),
  thumbnail: (slide: string, size: number) => of(slide, "thumbnail") + `?size=${size}`,
  region: (slide: string, x: number, y: number, width: number, height: number, downsample: number) =>
    of(slide, "region") + `?x=${x}&y=${y}&width=${width}&height=${height}&downsample=${downsample}`,
};
