/** What the page shows, as signals; the address restores it. */

import type { Reading } from "./ui/Reading";
import { computed, signal } from "@preact/signals";
import type { Facts, Finding, Grid, Listed, ObjectFacts, Overlays, Quality, Queue } from "./api";

export interface View {
  x: number;
  y: number;
  /** Level-0 pixels per screen pixel. */
  step: number;
}

export interface MapLook {
  shown: boolean;
  opacity: number;
  low: number;
  high: number;
  scale: string;
  plane: string;
}

export interface ObjectLook {
  shown: boolean;
  classes: string[] | null;
  ranges: Record<string, [number, number]>;
}

export interface Colour {
  brightness: number;
  contrast: number;
  icc: boolean;
  stain: string;
}

export const PLAIN: Colour = { brightness: 1, contrast: 1, icc: false, stain: "" };
export const SCALES = ["viridis", "cividis", "magma", "inferno", "plasma"];
export const MOST_PANES = 4;

export type Tool = "look" | "length" | "area";

export const TABS = ["layers", "regions", "annotate", "opinion"] as const;
export type Tab = (typeof TABS)[number];

export interface Layers {
  tissue: boolean;
  quality: boolean;
  tiles: boolean;
  /** The prediction that colours the tiles; empty for none. */
  prediction: string;
}

export const NO_LAYERS: Layers = { tissue: false, quality: false, tiles: false, prediction: "" };

export const slides = signal<Listed[]>([]);
export const search = signal("");
export const panes = signal<string[]>([]);
export const active = signal(0);
export const linked = signal(true);
export const facts = signal<Record<string, Facts>>({});
export const overlays = signal<Record<string, Overlays>>({});
export const findings = signal<Record<string, Finding[]>>({});
export const chosenFinding = signal(-1);
export const objectFacts = signal<Record<string, ObjectFacts>>({});
export const maps = signal<Record<string, MapLook>>({});
export const objects = signal<Record<string, ObjectLook>>({});
export const layers = signal<Layers>(NO_LAYERS);
export const grids = signal<Record<string, Grid>>({});
export const qualities = signal<Record<string, Quality>>({});
export const queues = signal<Record<string, Queue>>({});
export const queueAt = signal(-1);
/** The reading that is under way, by slide. */
export const readings = signal<Record<string, Reading>>({});
export const tab = signal<Tab>("layers");
/** Whether shapes are placed by key, in the middle of the view. */
export const aiming = signal(false);
export const allLayers = signal(true);
export const colour = signal<Colour>(PLAIN);
export const tool = signal<Tool>("look");
export const view = signal<View | null>(null);
export const message = signal<{ text: string; mend: string | null } | null>(null);
export const help = signal(false);

export const shownSlides = computed(() => {
  const wanted = search.value.trim().toLowerCase();
  return slides.value.filter((slide) => slide.id.toLowerCase().includes(wanted));
});

export const current = computed(() => panes.value[active.value] ?? null);

/** True while somebody reads the slide alone: nothing of what models say may be seen. */
export const blind = computed(() => {
  const reading = readings.value[current.value ?? ""];
  return reading !== undefined && reading.shown === null && reading.decided === null;
});

/** Take over how a reading stands; whether that changes what of the slide may be seen. */
export function follow(slide: string, reading: Reading): boolean {
  const seen = (one: Reading | undefined) => !one || one.shown !== null || one.decided !== null;
  const changed = seen(readings.value[slide]) !== seen(reading);
  readings.value = { ...readings.value, [slide]: reading };
  if (changed) allLayers.value = seen(reading); // what models drew would say too much
  return changed;
}

export function say(error: unknown): void {
  const mend = error instanceof Error && "mend" in error ? (error.mend as string | null) : null;
  message.value = { text: error instanceof Error ? error.message : String(error), mend };
}

export function lookOf(name: string): MapLook {
  return maps.value[name] ?? { shown: false, opacity: 0.6, low: 0.1, high: 1, scale: "viridis", plane: "" };
}

export function setLook(name: string, change: Partial<MapLook>): void {
  maps.value = { ...maps.value, [name]: { ...lookOf(name), ...change } };
}

export function objectLook(name: string): ObjectLook {
  return objects.value[name] ?? { shown: false, classes: null, ranges: {} };
}

export function setObjectLook(name: string, change: Partial<ObjectLook>): void {
  objects.value = { ...objects.value, [name]: { ...objectLook(name), ...change } };
}

/** A filter as the server's addresses state it. */
export function filterText(look: ObjectLook): string {
  const parts = Object.entries(look.ranges).map(([name, [low, high]]) => `range=${encodeURIComponent(`${name}:${low}:${high}`)}`);
  if (look.classes) parts.push(`classes=${encodeURIComponent(look.classes.join(","))}`);
  return parts.join("&");
}

// ---------------------------------------------------------------- the address
interface Saved {
  panes?: string[];
  active?: number;
  linked?: boolean;
  view?: View;
  maps?: Record<string, MapLook>;
  objects?: Record<string, ObjectLook>;
  layers?: Partial<Layers>;
  tab?: Tab;
  colour?: Colour;
}

export function saved(): string {
  const kept: Saved = {
    panes: panes.value,
    active: active.value,
    linked: linked.value,
    view: view.value ?? undefined,
    maps: maps.value,
    objects: objects.value,
    layers: layers.value,
    colour: colour.value,
    tab: tab.value,
  };
  return `#${encodeURIComponent(JSON.stringify(kept))}`;
}

export function restore(hash: string): void {
  if (hash.length < 2) return;
  let kept: Saved;
  try {
    kept = JSON.parse(decodeURIComponent(hash.slice(1))) as Saved;
  } catch {
    return; // an address that somebody mistyped shows the first slide
  }
  if (Array.isArray(kept.panes)) panes.value = kept.panes.map(String).slice(0, MOST_PANES);
  active.value = Math.max(0, Math.min(Number(kept.active) || 0, Math.max(0, panes.value.length - 1)));
  linked.value = kept.linked ?? true;
  maps.value = kept.maps ?? {};
  objects.value = kept.objects ?? {};
  layers.value = { ...NO_LAYERS, ...kept.layers };
  if (kept.tab && TABS.includes(kept.tab)) tab.value = kept.tab;
  colour.value = { ...PLAIN, ...kept.colour };
  view.value = kept.view && Number.isFinite(kept.view.step) ? kept.view : null;
}
