import { api, type Finding } from "../api";
import { lookAt } from "../stage";
import { chosenFinding, current, findings } from "../state";

/** A region is looked at with this much around it. */
const AROUND = 3;

export function nextFinding(by: number): void {
  const list = findings.value[current.value ?? ""] ?? [];
  if (list.length) showFinding((chosenFinding.value + by + list.length) % list.length);
}

function showFinding(index: number): void {
  const found = findings.value[current.value ?? ""]?.[index];
  if (!found) return;
  chosenFinding.value = index;
  lookAt(found, AROUND);
  document.getElementById(`finding-${index}`)?.scrollIntoView({ block: "nearest" });
}

export function Regions({ slide }: { slide: string }) {
  const list = findings.value[slide] ?? [];
  return (
    <section>
      <h2>
        Regions of interest <small>N, P</small>
      </h2>
      {!list.length && <p class="quiet-text">No model of this run gives probabilities of something that is no routine.</p>}
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
  const chosen = chosenFinding.value === index;
  return (
    <li id={`finding-${index}`} class={chosen ? "open" : ""}>
      <button type="button" aria-current={chosen ? "true" : undefined} onClick={() => showFinding(index)}>
        <img src={api.region(slide, found.x, found.y, found.width, found.height, step)} alt="" loading="lazy" width={72} height={72} />
        <span>
          <strong>
            {index + 1}. {found.class}
          </strong>
          <span class="state">{found.why}</span>
        </span>
      </button>
    </li>
  );
}
