import { ObjectPanel } from "./Objects";
import { Toggle } from "./Panels";
import type { MapLayer } from "../api";
import { facts, grids, layers, lookOf, overlays, qualities, SCALES, setLook, type Layers } from "../state";

/** Five colours of each scale, from its least to its greatest; the tiles are painted with all 256. */
const RAMPS: Record<string, string> = {
  viridis: "#440154,#3b528b,#21918c,#5ec962,#fde725",
  cividis: "#00224e,#414d6b,#7c7b78,#bcaf6f,#fee838",
  magma: "#000004,#51127c,#b73779,#fc8961,#fcfdbf",
  inferno: "#000004,#57106e,#bc3754,#f98e09,#fcffa4",
  plasma: "#0d0887,#7e03a8,#cc4778,#f89540,#f0f921",
};

const FLAGS: Record<string, string> = {
  blur: "out of focus",
  pen: "pen",
  fold: "fold",
  bubble: "air bubble",
  over_stained: "stained too much",
  under_stained: "stained too little",
  saturated: "overexposed",
};

export function LayersPanel({ slide }: { slide: string }) {
  const there = overlays.value[slide];
  const none = there && !there.maps.length && !there.tissue && !there.tiles && !there.objects.length;
  return (
    <>
      <section>
        <h2>Layers</h2>
        {none && <p class="quiet-text">No run has results of this slide. Run a recipe and view the run.</p>}
        {there?.tissue && <Toggle label="Tissue" on={layers.value.tissue} set={(tissue) => set({ tissue })} />}
        {there?.quality && <QualityPanel slide={slide} />}
        {there?.tiles && <TilesPanel slide={slide} predictions={there.predictions} />}
        {there?.problems.map((text) => (
          <p class="warning">{text}</p>
        ))}
        {there?.maps.map((layer) => <MapPanel key={layer.name} layer={layer} />)}
      </section>
      {there?.objects.map((name) => <ObjectPanel key={`${slide}/${name}`} slide={slide} name={name} />)}
      <About slide={slide} />
    </>
  );
}

function set(change: Partial<Layers>): void {
  layers.value = { ...layers.value, ...change };
}

function About({ slide }: { slide: string }) {
  const about = facts.value[slide];
  if (!about) return null;
  return (
    <section>
      <h2>Slide</h2>
      <dl>
        <dt>Size</dt>
        <dd>
          {about.width.toLocaleString("en")} × {about.height.toLocaleString("en")} px
        </dd>
        <dt>mpp</dt>
        <dd>{about.mpp === null ? "not stated: give it with --mpp" : `${about.mpp.toPrecision(4)} µm/px (${about.mpp_source})`}</dd>
        <dt>Scanner</dt>
        <dd>{about.vendor}</dd>
      </dl>
      {about.warnings.map((text) => (
        <p class="warning">{text}</p>
      ))}
    </section>
  );
}

function QualityPanel({ slide }: { slide: string }) {
  const found = qualities.value[slide];
  return (
    <div class="layer-panel">
      <Toggle label="Quality" on={layers.value.quality} set={(quality) => set({ quality })} />
      {layers.value.quality && found && (
        <ul class="legend controls">
          {found.usable !== null && <li>{(100 * found.usable).toFixed(1)} % of the tissue is fit to read</li>}
          {found.flags
            .filter((flag) => flag.xy.length)
            .map((flag) => (
              <li>
                <i style={{ background: `#${flag.colour}` }} /> {FLAGS[flag.name] ?? flag.name} <small>{(100 * flag.share).toFixed(1)} %</small>
              </li>
            ))}
        </ul>
      )}
    </div>
  );
}

function TilesPanel({ slide, predictions }: { slide: string; predictions: string[] }) {
  const { tiles, prediction } = layers.value;
  const grid = grids.value[`${slide}/${prediction}`];
  return (
    <div class="layer-panel">
      <Toggle label="Tiles" on={tiles} set={(on) => set({ tiles: on, prediction: prediction || predictions[0] || "" })} />
      {tiles && predictions.length > 0 && (
        <div class="controls">
          <label>
            <span>Colour by</span>
            <select value={prediction} onChange={(event) => set({ prediction: event.currentTarget.value })}>
              <option value="">nothing</option>
              {predictions.map((name) => (
                <option value={name}>{name}</option>
              ))}
            </select>
          </label>
          {prediction && (grid?.names?.length ?? 0) > 0 && (
            <ul class="legend">
              {grid!.names!.map((name, i) => (
                <li>
                  <i style={{ background: `#${grid!.colours![i]}` }} /> {name} <small>{grid!.labels!.filter((label) => label === i).length.toLocaleString("en")}</small>
                </li>
              ))}
            </ul>
          )}
        </div>
      )}
    </div>
  );
}

function MapPanel({ layer }: { layer: MapLayer }) {
  const look = lookOf(layer.name);
  return (
    <div class="layer-panel">
      <Toggle label={`Map: ${layer.name}`} on={look.shown} set={(shown) => setLook(layer.name, { shown })} />
      {look.shown && (
        <div class="controls">
          {layer.kind === "probabilities" ? <Scale layer={layer} /> : <Classes layer={layer} />}
          <Range label="Opacity" value={look.opacity} set={(opacity) => setLook(layer.name, { opacity })} />
        </div>
      )}
    </div>
  );
}

function Classes({ layer }: { layer: MapLayer }) {
  return (
    <ul class="legend">
      {layer.classes.map((one) => (
        <li>
          <i style={{ background: `#${one.colour}` }} /> {one.name}
        </li>
      ))}
    </ul>
  );
}

function Scale({ layer }: { layer: MapLayer }) {
  const look = lookOf(layer.name);
  const plane = look.plane || layer.classes[0]?.name || "";
  return (
    <>
      <label>
        <span>Class</span>
        <select value={plane} onChange={(event) => setLook(layer.name, { plane: event.currentTarget.value })}>
          {layer.classes.map((one) => (
            <option>{one.name}</option>
          ))}
        </select>
      </label>
      <label>
        <span>Colours</span>
        <select value={look.scale} onChange={(event) => setLook(layer.name, { scale: event.currentTarget.value })}>
          {SCALES.map((name) => (
            <option>{name}</option>
          ))}
        </select>
      </label>
      <div class="ramp" role="img" aria-label={`Colours from ${look.low.toFixed(2)} to ${look.high.toFixed(2)}`}>
        <span>{look.low.toFixed(2)}</span>
        <i style={{ background: `linear-gradient(90deg, ${RAMPS[look.scale]})` }} />
        <span>{look.high.toFixed(2)}</span>
      </div>
      <Range label="From" value={look.low} set={(low) => setLook(layer.name, { low: Math.min(low, look.high) })} />
      <Range label="To" value={look.high} set={(high) => setLook(layer.name, { high: Math.max(high, look.low) })} />
    </>
  );
}

function Range({ label, value, set: change }: { label: string; value: number; set(value: number): void }) {
  return (
    <label>
      <span>{label}</span>
      <input type="range" min={0} max={1} step={0.01} value={value} onInput={(event) => change(Number(event.currentTarget.value))} />
      <output>{value.toFixed(2)}</output>
    </label>
  );
}
