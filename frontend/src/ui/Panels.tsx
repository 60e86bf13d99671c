import { DrawPanel } from "./Draw";
import { ObjectPanel } from "./Objects";
import { ReadingPanel } from "./Reading";
import { Regions } from "./Regions";
import type { MapLayer } from "../api";
import { picked } from "../stage";
import { current, facts, layers, lookOf, overlays, SCALES, setLook } from "../state";

export function Panels() {
  const slide = current.value;
  const there = slide ? overlays.value[slide] : undefined;
  const about = slide ? facts.value[slide] : undefined;
  return (
    <aside class="panels" aria-label="Layers and results">
      {picked.value && picked.value.slide === slide && <Picked />}
      {slide && <Regions slide={slide} />}
      <section>
        <h2>Layers</h2>
        {there && !there.maps.length && !there.tissue && !there.tiles && !there.objects.length && (
          <p class="quiet-text">No run has results of this slide. Run a recipe and view the run.</p>
        )}
        {there?.tissue && <Toggle label="Tissue" on={layers.value.tissue} set={(tissue) => (layers.value = { ...layers.value, tissue })} />}
        {there?.tiles && <Toggle label="Tiles" on={layers.value.tiles} set={(tiles) => (layers.value = { ...layers.value, tiles })} />}
        {there?.problems.map((text) => (
          <p class="warning">{text}</p>
        ))}
        {there?.maps.map((layer) => <MapPanel key={layer.name} layer={layer} />)}
      </section>
      {slide && there?.objects.map((name) => <ObjectPanel key={name} slide={slide} name={name} />)}
      {slide && about && <DrawPanel slide={slide} />}
      {slide && <ReadingPanel slide={slide} />}
      {about && (
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
      )}
      <footer>For research use only</footer>
    </aside>
  );
}

export function Toggle({ label, on, set }: { label: string; on: boolean; set(on: boolean): void }) {
  return (
    <label class="toggle">
      <input type="checkbox" checked={on} onChange={(event) => set(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

function MapPanel({ layer }: { layer: MapLayer }) {
  const look = lookOf(layer.name);
  const plane = look.plane || layer.classes[0]?.name || "";
  return (
    <div class="layer-panel">
      <Toggle label={`Map: ${layer.name}`} on={look.shown} set={(shown) => setLook(layer.name, { shown })} />
      {look.shown && (
        <div class="controls">
          {layer.kind === "probabilities" ? (
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
              <Range label="From" value={look.low} set={(low) => setLook(layer.name, { low })} />
              <Range label="To" value={look.high} set={(high) => setLook(layer.name, { high })} />
            </>
          ) : (
            <ul class="legend">
              {layer.classes.map((one) => (
                <li>
                  <i style={{ background: `#${one.colour}` }} /> {one.name}
                </li>
              ))}
            </ul>
          )}
          <Range label="Opacity" value={look.opacity} set={(opacity) => setLook(layer.name, { opacity })} />
        </div>
      )}
    </div>
  );
}

function Range({ label, value, set }: { label: string; value: number; set(value: number): void }) {
  return (
    <label>
      <span>{label}</span>
      <input type="range" min={0} max={1} step={0.01} value={value} onInput={(event) => set(Number(event.currentTarget.value))} />
      <output>{value.toFixed(2)}</output>
    </label>
  );
}

function Picked() {
  const { found, name } = picked.value!;
  return (
    <section class="picked" aria-live="polite">
      <h2>
        {name} {found.object}
      </h2>
      <dl>
        <dt>Class</dt>
        <dd>{found.class ?? "none"}</dd>
        {found.score !== null && (
          <>
            <dt>Score</dt>
            <dd>{found.score.toFixed(3)}</dd>
          </>
        )}
        {Object.entries(found.measurements).map(([key, value]) => (
          <>
            <dt>{key}</dt>
            <dd>{value === null ? "–" : Number(value.toPrecision(4))}</dd>
          </>
        ))}
      </dl>
    </section>
  );
}
