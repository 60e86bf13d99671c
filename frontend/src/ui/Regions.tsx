import { api, type Finding } from "../api";
import { goTo, paneOf, pointAt } from "../stage";
import { chosenFinding, current, findings } from "../state";

/** A region is looked at with this much around it. */
const AROUND = 3;

export function nextFinding(by: number): void {
  const list = findings.value[current.value ?? ""] ?? [];
  if (list.length) showFinding((chosenFinding.value + by + list.length) % list.length);
}

function showFinding(index: number): void {
  const pane = paneOf(current.value);
  const found = findings.value[current.value ?? ""]?.[index];
  if (!pane || !found) return;
  chosenFinding.value = index;
  const room = Math.min(pane.viewer.element.clientWidth, pane.viewer.element.clientHeight);
  goTo({ x: found.x + found.width / 2, y: found.y + found.height / 2, step: (Math.max(found.width, found.height) * AROUND) / room });
  pointAt(pane, found);
  document.getElementById(`finding-${index}`)?.scrollIntoView({ block: "nearest" });
}

export function Regions({ slide }: { slide: string }) {
  const list = findings.value[slide] ?? [];
  if (!list.length) return null;
  return (
    <section>
      <h2>
        Regions of interest <small>N, P</small>
      </h2>
      <ol class="findings">
        {list.map((found, i) => (
          <Row slide={slide} found={found} index={i} />
        ))}
      </ol>
    </section>
  );
}

function Row({ slide, found, index }: { slide: string; found: Finding; index: number }) {
  const step = Math.max(found.width, found.height) / 96;
  return (
    <li id={`finding-${index}`} class={chosenFinding.value === index ? "open" : ""}>
      <button type="button" onClick={() => showFinding(index)}>
        <img src={api.region(slide, found.x, found.y, found.width, found.height, step)} alt="" loading="lazy" width={72} height={72} />
        <span>
          <strong>{found.class}</strong>
          <span class="state">{found.why}</span>
        </span>
      </button>
    </li>
  );
}
