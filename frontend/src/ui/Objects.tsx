import { useSignalEffect, useSignal } from "@preact/signals";
import { api, type Histogram } from "../api";
import { Toggle } from "./Panels";
import { filterText, objectFacts, objectLook, say, setObjectLook } from "../state";

/** Milliseconds that a filter must rest before it is asked for. */
const REST = 120;

export function ObjectPanel({ slide, name }: { slide: string; name: string }) {
  const key = `${slide}/${name}`;
  const look = objectLook(name);
  const about = objectFacts.value[key];
  return (
    <section>
      <h2>Objects: {name}</h2>
      <Toggle label={about ? `${about.kept.toLocaleString("en")} of ${about.count.toLocaleString("en")}` : "Show"} on={look.shown} set={(shown) => setObjectLook(name, { shown })} />
      {look.shown && about && (
        <>
          <ul class="legend">
            {about.classes.map((one) => (
              <li>
                <label class="toggle">
                  <input type="checkbox" checked={!look.classes || look.classes.includes(one.name)} onChange={() => setObjectLook(name, { classes: toggled(about.classes.map((c) => c.name), look.classes, one.name) })} />
                  <i style={{ background: `#${one.colour}` }} /> {one.name} <small>{one.count.toLocaleString("en")}</small>
                </label>
              </li>
            ))}
          </ul>
          {about.measurements.map((measurement) => (
            <Spread key={measurement} slide={slide} name={name} measurement={measurement} />
          ))}
        </>
      )}
    </section>
  );
}

function toggled(all: string[], chosen: string[] | null, name: string): string[] | null {
  const now = chosen ?? all;
  const next = now.includes(name) ? now.filter((one) => one !== name) : [...now, name];
  return next.length === all.length ? null : next;
}

/** A histogram; its two handles filter. */
function Spread({ slide, name, measurement }: { slide: string; name: string; measurement: string }) {
  const found = useSignal<Histogram | null>(null);
  const open = useSignal(false);
  useSignalEffect(() => {
    if (!open.value) return;
    const filter = filterText(objectLook(name));
    const timer = window.setTimeout(() => {
      api
        .histogram(slide, name, measurement, filter)
        .then((one) => (found.value = one))
        .catch(say);
    }, REST);
    return () => window.clearTimeout(timer);
  });
  return (
    <details class="spread" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>{measurement}</summary>
      {found.value && <Bars name={name} measurement={measurement} found={found.value} />}
    </details>
  );
}

function Bars({ name, measurement, found }: { name: string; measurement: string; found: Histogram }) {
  const look = objectLook(name);
  const [least, most] = [found.edges[0]!, found.edges[found.edges.length - 1]!];
  const [low, high] = look.ranges[measurement] ?? [least, most];
  const top = Math.max(1, ...found.all);
  const step = (most - least) / 200 || 1;
  const set = (range: [number, number]) => {
    const { [measurement]: _, ...rest } = look.ranges;
    const whole = range[0] <= least && range[1] >= most;
    setObjectLook(name, { ranges: whole ? rest : { ...rest, [measurement]: range } });
  };
  return (
    <div class="bars">
      <svg viewBox={`0 0 ${found.all.length} 40`} preserveAspectRatio="none" role="img" aria-label={`Histogram of ${measurement}`}>
        {found.all.map((count, i) => (
          <>
            <rect class="all" x={i} width={0.9} y={40 - (40 * count) / top} height={(40 * count) / top} />
            <rect class="kept" x={i} width={0.9} y={40 - (40 * found.kept[i]!) / top} height={(40 * found.kept[i]!) / top} />
          </>
        ))}
      </svg>
      <label>
        <span>least</span>
        <input type="range" min={least} max={most} step={step} value={low} onInput={(event) => set([Math.min(Number(event.currentTarget.value), high), high])} />
        <output>{Number(low.toPrecision(3))}</output>
      </label>
      <label>
        <span>greatest</span>
        <input type="range" min={least} max={most} step={step} value={high} onInput={(event) => set([low, Math.max(Number(event.currentTarget.value), low)])} />
        <output>{Number(high.toPrecision(3))}</output>
      </label>
    </div>
  );
}
