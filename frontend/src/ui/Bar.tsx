import { reporting } from "./Report";
import { Who } from "./Who";
import { active, allLayers, blind, colour, current, facts, help, linked, panes, PLAIN, tool, view, type Tool } from "../state";
import { magnification } from "../scale";
import { goTo, home, measure, saveScreenshot, zoomTo } from "../stage";

const STEPS = [1.25, 2.5, 5, 10, 20, 40];

const TOOLS: { name: Tool; label: string; key: string }[] = [
  { name: "look", label: "Look", key: "V" },
  { name: "length", label: "Length", key: "L" },
  { name: "area", label: "Area", key: "A" },
];

export function Bar() {
  return (
    <header class="bar">
      <h1 class="brand">Coverslip</h1>
      <Magnifier />
      <div class="group" role="radiogroup" aria-label="Tool">
        {TOOLS.map(({ name, label, key }) => (
          <button type="button" role="radio" aria-checked={tool.value === name} title={`${label} (${key})`} onClick={() => (tool.value = name)}>
            {label}
          </button>
        ))}
        <output class="measure">{measure.value}</output>
      </div>
      <ColourMenu />
      <div class="group">
        <button type="button" aria-pressed={allLayers.value} disabled={blind.value} title="Show or hide all layers (O)" onClick={() => (allLayers.value = !allLayers.value)}>
          Layers
        </button>
        {panes.value.length > 1 && (
          <>
            <button type="button" aria-pressed={linked.value} title="Move all slides together (K)" onClick={() => (linked.value = !linked.value)}>
              Linked
            </button>
            <button type="button" title="Close this slide (X)" onClick={closePane}>
              Close
            </button>
          </>
        )}
        <button type="button" title="Save the view as a picture (S)" onClick={() => void saveScreenshot()}>
          Picture
        </button>
        <button type="button" title="Draft report of the case" onClick={() => (reporting.value = true)}>
          Report
        </button>
        <button type="button" title="Keys (?)" aria-label="Keys" onClick={() => (help.value = true)}>
          ?
        </button>
      </div>
      <Who />
    </header>
  );
}

export function closePane(): void {
  if (panes.value.length < 2) return;
  panes.value = panes.value.filter((_, i) => i !== active.value);
  active.value = Math.min(active.value, panes.value.length - 1);
}

function Magnifier() {
  const about = current.value ? facts.value[current.value] : undefined;
  const mpp = about?.mpp ?? null;
  const step = view.value?.step;
  const um = mpp !== null && step ? mpp * step : null;
  return (
    <div class="group" role="group" aria-label="Magnification">
      <button type="button" title="Whole slide (F)" onClick={home}>
        Fit
      </button>
      {mpp === null ? (
        <button type="button" title="One pixel of the slide per pixel of the screen" onClick={() => view.value && goTo({ ...view.value, step: 1 })}>
          1:1
        </button>
      ) : (
        STEPS.map((steps, i) => (
          <button type="button" title={`${steps}x: ${10 / steps} µm per pixel (${i + 1})`} onClick={() => zoomTo(steps)}>
            {steps}x
          </button>
        ))
      )}
      <output class="now" aria-live="off">
        {um === null ? (step ? `1 : ${step.toFixed(step < 10 ? 1 : 0)}` : "") : `${magnification(um).toPrecision(3)}x · ${um.toPrecision(3)} µm/px`}
      </output>
    </div>
  );
}

function ColourMenu() {
  const now = colour.value;
  const about = current.value ? facts.value[current.value] : undefined;
  const changed = JSON.stringify(now) !== JSON.stringify(PLAIN);
  return (
    <details class="menu">
      <summary aria-label="Colour">{changed ? "Colour •" : "Colour"}</summary>
      <div class="sheet">
        <Slider label="Brightness" value={now.brightness} set={(brightness) => (colour.value = { ...now, brightness })} />
        <Slider label="Contrast" value={now.contrast} set={(contrast) => (colour.value = { ...now, contrast })} />
        <label>
          <span>Stain</span>
          <select value={now.stain} onChange={(event) => (colour.value = { ...now, stain: event.currentTarget.value })}>
            <option value="">as scanned</option>
            <option value="haematoxylin">haematoxylin alone</option>
            <option value="eosin">eosin alone</option>
            <option value="dab">DAB alone</option>
          </select>
        </label>
        <label class={about?.has_icc ? "" : "off"}>
          <input type="checkbox" disabled={!about?.has_icc} checked={now.icc} onChange={(event) => (colour.value = { ...now, icc: event.currentTarget.checked })} />
          <span>{about?.has_icc ? "Colour profile of the scanner" : "The file has no colour profile"}</span>
        </label>
        <button type="button" disabled={!changed} onClick={() => (colour.value = PLAIN)}>
          As scanned
        </button>
      </div>
    </details>
  );
}

function Slider({ label, value, set }: { label: string; value: number; set(value: number): void }) {
  return (
    <label>
      <span>{label}</span>
      <input type="range" min={0.4} max={2} step={0.05} value={value} onInput={(event) => set(Number(event.currentTarget.value))} />
    </label>
  );
}
