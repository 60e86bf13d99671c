/** What the server answers, and how it is asked. Coordinates are level-0 pixels throughout. */

import { call } from "./session";

export interface Listed {
  id: string;
  run: string | null;
  results: string[];
  there: boolean;
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
  features: string[];
  tissue: boolean;
  tiles: boolean;
  quality: boolean;
  problems: string[];
}

export interface ObjectFacts {
  count: number;
  kept: number;
  classes: Required<ClassOf>[];
  unclassed: number;
  measurements: string[];
}

export interface Histogram {
  edges: number[];
  all: number[];
  kept: number[];
}

export interface Outlines {
  ids: number[];
  classes: number[];
  rings: [number, number][][];
}

export interface ObjectAt {
  object: number;
  class: string | null;
  score: number | null;
  measurements: Record<string, number | null>;
  ring: [number, number][];
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
  outlines: (slide: string, name: string, box: [number, number, number, number], filter: string, signal: AbortSignal) =>
    ask<Outlines>(
      of(slide, "objects", name, "outlines") + `?x=${box[0]}&y=${box[1]}&width=${box[2]}&height=${box[3]}&${filter}`,
      signal,
    ),
  at: (slide: string, name: string, x: number, y: number) => ask<ObjectAt>(of(slide, "objects", name, "at") + `?x=${x}&y=${y}`),
  thumbnail: (slide: string, size: number) => of(slide, "thumbnail") + `?size=${size}`,
  region: (slide: string, x: number, y: number, width: number, height: number, downsample: number) =>
    of(slide, "region") + `?x=${x}&y=${y}&width=${width}&height=${height}&downsample=${downsample}`,
};
