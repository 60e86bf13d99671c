import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { cornerAt } from "../corners";
import { drawTool } from "../hand";
import type { Pane } from "../pane";
import { barOf, mount, unmount } from "../stage";
import * as state from "../state";
import { filterText } from "../state";

export function Stage() {
  const { value: shown } = state.panes;
  return (
    <main class={`stage of${shown.length}`} aria-label="Slides in view">
      {shown.map((slide, i) => (
        <PaneView key={slide} slide={slide} place={i} />
      ))}
      {!shown.length && <p class="empty">Choose a slide on the left.</p>}
    </main>
  );
}

function PaneView({ slide, place }: { slide: string; place: number }) {
  const host = useRef<HTMLDivElement>(null);
  const [pane, setPane] = useState<Pane | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  useEffect(() => {
    let gone = false;
    setFailed(null);
    mount(host.current!, slide)
      .then((made) => (gone ? made.destroy() : setPane(made)))
      .catch((error: unknown) => {
        setFailed(error instanceof Error ? error.message : String(error));
        state.say(error);
      });
    return () => {
      gone = true;
      unmount(slide);
    };
  }, [slide]);
  const active = state.active.value === place;
  return (
    <section
      class={`pane${active && state.panes.value.length > 1 ? " active" : ""}${active && aims() ? " aims" : ""} tool-${state.tool.value}`}
      aria-label={slide}
      onPointerDownCapture={() => {
        state.active.value = place;
        state.aiming.value = false;
      }}
    >
      <div class="host" ref={host} role="application" aria-label={`Slide ${slide}: move with the arrow keys, zoom with + and -`} tabIndex={0} />
      {failed && <p class="empty">{failed}</p>}
      <header class="title">{slide}</header>
      {pane && <ScaleBar pane={pane} slide={slide} />}
      {pane && <Layers pane={pane} slide={slide} />}
    </section>
  );
}

/** Whether the middle of the view is where the next corner goes. */
function aims(): boolean {
  return state.aiming.value && (drawTool.value !== null || state.tool.value !== "look");
}

function ScaleBar({ pane, slide }: { pane: Pane; slide: string }) {
  const moved = state.view.value; // so that it is drawn anew when the view moves
  const view = pane.view ?? moved;
  const about = state.facts.value[slide];
  if (!view || !about) return null;
  const bar = barOf(pane, view);
  if (!bar) return <div class="scale none">no mpp: lengths in pixels</div>;
  return (
    <div class="scale" role="img" aria-label={`Scale bar: ${bar.label}`}>
      <span>{bar.label}</span>
      <i style={{ width: `${bar.pixels}px` }} />
    </div>
  );
}

/** Carries what the page says of layers over to the pane; shows nothing itself. */
function Layers({ pane, slide }: { pane: Pane; slide: string }) {
  useSignalEffect(() => pane.recolour(state.colour.value));
  useSignalEffect(() => pane.setOverlaysVisible(state.allLayers.value));
  useSignalEffect(() => {
    for (const layer of state.overlays.value[slide]?.maps ?? []) pane.showMap(layer, state.lookOf(layer.name));
  });
  useSignalEffect(() => {
    const names = (state.overlays.value[slide]?.objects ?? []).filter((name) => state.objectLook(name).shown);
    const filters = names.map((name) => [name, filterText(state.objectLook(name))] as const);
    const timer = window.setTimeout(() => filters.forEach(([name, filter]) => void countObjects(slide, name, filter)), REST);
    return () => window.clearTimeout(timer);
  });
  useSignalEffect(() => {
    for (const name of state.overlays.value[slide]?.objects ?? []) {
      const about = state.objectFacts.value[`${slide}/${name}`];
      const look = state.objectLook(name);
      if (!about) continue;
      const colours = [...about.classes.map((one) => `#${one.colour}`), "#999999"];
      pane.showObjects({ name, look, about, colours });
    }
  });
  useSignalEffect(() => {
    pane.ink.corner = state.current.value === slide ? cornerAt.value : null;
    pane.ink.redraw();
  });
  useSignalEffect(() => void showTissue(pane, slide, state.layers.value.tissue).catch(state.say));
  useSignalEffect(() => void showGrid(pane, slide, state.layers.value).catch(state.say));
  useSignalEffect(() => void showQuality(pane, slide, state.layers.value.quality).catch(state.say));
  return null;
}

/** Milliseconds that a filter must rest before it is asked for. */
const REST = 100;

/** How many objects there are and how many a filter keeps, unless that is known. */
async function countObjects(slide: string, name: string, filter: string): Promise<void> {
  const key = `${slide}/${name}`;
  if (counted.get(key) === filter) return;
  try {
    const found = await api.objects(slide, name, filter);
    counted.set(key, filter);
    state.objectFacts.value = { ...state.objectFacts.peek(), [key]: found };
  } catch (error) {
    state.say(error);
  }
}

const counted = new Map<string, string>();

async function showTissue(pane: Pane, slide: string, shown: boolean): Promise<void> {
  if (!shown || !state.overlays.value[slide]?.tissue) {
    pane.ink.tissue = null;
  } else if (!pane.ink.tissue) {
    const { geometry } = await api.tissue(slide);
    const path = new Path2D();
    for (const ring of geometry.coordinates.flat()) {
      ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
      path.closePath();
    }
    pane.ink.tissue = path;
  }
  pane.ink.redraw();
}

async function showGrid(pane: Pane, slide: string, { tiles, prediction }: state.Layers): Promise<void> {
  const there = state.overlays.value[slide];
  if (!tiles || !there?.tiles) {
    pane.ink.grid = [];
    pane.ink.redraw();
    return;
  }
  const name = there.predictions.includes(prediction) ? prediction : "";
  const key = `${slide}/${name}`;
  const grid = state.grids.peek()[key] ?? (await api.grid(slide, name || undefined));
  if (!state.grids.peek()[key]) state.grids.value = { ...state.grids.peek(), [key]: grid };
  if (state.layers.peek().prediction !== prediction || !state.layers.peek().tiles) return; // changed in between
  const colours = [...(grid.colours ?? []).map((one) => `#${one}`), NO_LABEL];
  const paths = colours.map((colour) => ({ path: new Path2D(), colour }));
  grid.xy.forEach(([x, y], i) => {
    const label = grid.labels?.[i] ?? -1;
    paths[label < 0 ? paths.length - 1 : label]!.path.rect(x, y, grid.side, grid.side);
  });
  pane.ink.grid = paths;
  pane.ink.redraw();
}

/** Tiles of which nothing is said. */
const NO_LABEL = "#999999";

async function showQuality(pane: Pane, slide: string, shown: boolean): Promise<void> {
  if (!shown || !state.overlays.value[slide]?.quality) {
    pane.ink.quality = [];
  } else {
    const found = state.qualities.peek()[slide] ?? (await api.quality(slide));
    if (!state.qualities.peek()[slide]) state.qualities.value = { ...state.qualities.peek(), [slide]: found };
    pane.ink.quality = found.flags.map(({ colour, xy }) => {
      const path = new Path2D();
      for (const [x, y] of xy) path.rect(x, y, found.side, found.side);
      return { path, colour: `#${colour}` };
    });
  }
  pane.ink.redraw();
}
