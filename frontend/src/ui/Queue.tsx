import { useSignalEffect } from "@preact/signals";
import { api } from "../api";
import { verdicts } from "../draw";
import { lookAt, paneOf, picked } from "../stage";
import { current, overlays, queueAt, queues, say } from "../state";

/** A tile is looked at with this much around it. */
const AROUND = 2.5;

async function load(slide: string, name: string): Promise<void> {
  try {
    queues.value = { ...queues.peek(), [slide]: await api.queue(slide, name) };
    queueAt.value = -1;
  } catch (error) {
    say(error);
  }
}

export async function nextToLabel(by: number): Promise<void> {
  const slide = current.value;
  const name = slide && overlays.value[slide]?.doubting[0];
  if (!slide || !name) return;
  if (!queues.value[slide]) await load(slide, name);
  const list = queues.value[slide]?.queue ?? [];
  if (list.length) show(slide, (queueAt.value + by + list.length) % list.length);
}

function show(slide: string, index: number): void {
  const tile = queues.value[slide]?.queue[index];
  if (!tile) return;
  queueAt.value = index;
  lookAt(tile, AROUND);
  const corners: [number, number][] = [[tile.x, tile.y], [tile.x + tile.width, tile.y], [tile.x + tile.width, tile.y + tile.height], [tile.x, tile.y + tile.height]]; // prettier-ignore
  picked.value = { slide, key: tile.key, number: tile.row, class: tile.class, classes: tile.classes, numbers: tile.numbers, rings: [corners] };
  document.getElementById(`queue-${index}`)?.scrollIntoView({ block: "nearest" });
}

/** Give the tile at hand the class of a number key, and go on to the next. */
export function labelTile(number: number): void {
  const slide = current.value;
  const queue = slide ? queues.value[slide] : undefined;
  const tile = queue?.queue[queueAt.value];
  const name = queue?.classes[number - 1];
  if (!slide || !tile || !name) return;
  paneOf(slide)?.drawing.judge(tile.key, tile.row, name === tile.class ? "accept" : "relabel", name);
  void nextToLabel(1);
}

export function QueuePanel({ slide }: { slide: string }) {
  const names = overlays.value[slide]?.doubting ?? [];
  useSignalEffect(() => {
    const name = overlays.value[slide]?.doubting[0];
    if (name && !queues.peek()[slide]) void load(slide, name);
  });
  if (!names.length) return null;
  const found = queues.value[slide];
  return (
    <section>
      <h2>
        Label next <small>Q, Shift+1 …</small>
      </h2>
      <p class="quiet-text">
        Tiles of which the model is least sure, unlike each other{found && ` by ${found.spread_by}`}.
        {found && ` ${found.labelled.toLocaleString("en")} of ${found.tiles.toLocaleString("en")} have a label.`}
      </p>
      <div class="tools">
        {names.length > 1 && (
          <select aria-label="Prediction" value={found?.prediction} onChange={(event) => void load(slide, event.currentTarget.value)}>
            {names.map((name) => (
              <option>{name}</option>
            ))}
          </select>
        )}
        <button type="button" title="Next tile to label (Q)" onClick={() => void nextToLabel(1)}>
          Next
        </button>
        <button type="button" onClick={() => void load(slide, found?.prediction ?? names[0]!)}>
          Ask anew
        </button>
      </div>
      {found && (
        <ol class="findings">
          {found.queue.map((_, i) => (
            <Row slide={slide} index={i} />
          ))}
        </ol>
      )}
    </section>
  );
}

function Row({ slide, index }: { slide: string; index: number }) {
  void verdicts.value; // drawn anew when a tile gets its label
  const { queue, classes } = queues.value[slide]!;
  const tile = queue[index]!;
  const label = paneOf(slide)?.drawing.correctionOf(tile.key, tile.row)?.class_name;
  const chosen = queueAt.value === index;
  return (
    <li id={`queue-${index}`} class={chosen ? "open" : ""}>
      <button type="button" aria-current={chosen ? "true" : undefined} onClick={() => show(slide, index)}>
        <img src={api.region(slide, tile.x, tile.y, tile.width, tile.height, tile.width / 96)} alt="" loading="lazy" width={72} height={72} />
        <span>
          <strong>{label ?? `${tile.class ?? "?"}?`}</strong>
          <span class="state">
            {label ? "labelled" : `doubt ${tile.doubt.toFixed(2)}`}
          </span>
        </span>
      </button>
      {chosen && (
        <div class="tools" role="group" aria-label="Label of this tile">
          {classes.map((name, i) => (
            <button type="button" aria-pressed={label === name} title={`${name} (Shift+${i + 1})`} onClick={() => labelTile(i + 1)}>
              {name}
            </button>
          ))}
        </div>
      )}
    </li>
  );
}
