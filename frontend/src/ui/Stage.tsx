import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { drawTool } from "../draw";
import type { Pane } from "../pane";
import { barOf, mount, unmount } from "../stage";
import * as state from "../state";

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
      class={`pane${active && state.panes.value.length > 1 ? " active" : ""} tool-${state.tool.value}`}
      aria-label={slide}
      onPointerDownCapture={() => (state.active.value = place)}
    >
      <div class="host" ref={host} role="application" aria-label={`Slide ${slide}: move with the arrow keys, zoom with + and -`} tabIndex={0} />
      {failed && <p class="empty">{failed}</p>}
      <header class="title">{slide}</header>
      {pane && <ScaleBar pane={pane} slide={slide} />}
      {pane && <Layers pane={pane} slide={slide} />}
    </section>
  );
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
  useSignalEffect(() => pane.drawing.use(drawTool.value));
  useSignalEffect(() => {
    for (const layer of state.overlays.value[slide]?.maps ?? []) pane.showMap(layer, state.lookOf(layer.name));
  });
  useSignalEffect(() => {
    for (const name of state.overlays.value[slide]?.objects ?? []) {
      const about = state.objectFacts.value[`${slide}/${name}`];
      const look = state.objectLook(name);
      if (look.shown && !about) continue;
      const colours = [...(about?.classes ?? []).map((one) => `#${one.colour}`), "#999999"];
      pane.showObjects(name, look, colours);
    }
  });
  useSignalEffect(() => void showTissue(pane, slide, state.layers.value.tissue));
  useSignalEffect(() => void showGrid(pane, slide, state.layers.value.tiles));
  return null;
}

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

const LABELS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"];

async function showGrid(pane: Pane, slide: string, shown: boolean): Promise<void> {
  const there = state.overlays.value[slide];
  if (!shown || !there?.tiles) {
    pane.ink.grid = [];
  } else if (!pane.ink.grid.length) {
    const grid = await api.grid(slide, there.predictions[0]);
    const paths = LABELS.map((colour) => ({ path: new Path2D(), colour }));
    grid.xy.forEach(([x, y], i) => {
      const label = grid.labels?.[i] ?? -1;
      paths[label < 0 ? LABELS.length - 1 : label % (LABELS.length - 1)]!.path.rect(x, y, grid.side, grid.side);
    });
    pane.ink.grid = paths;
  }
  pane.ink.redraw();
}
