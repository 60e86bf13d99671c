import { className, counts, verdicts, type Verdict } from "../draw";
import { drawTool } from "../hand";
import { when } from "../scale";
import type { Kept } from "../shapes";
import { paneOf, picked as pickedNow, type Picked } from "../stage";
import { current, tab } from "../state";

const SAID: Record<Verdict, string> = {
  accept: "confirmed",
  reject: "rejected",
  relabel: "relabelled",
  reshape: "reshaped",
};

/** Say whether the finding that was clicked is right. */
export function judge(verdict: Verdict, name: string | null = null): void {
  const now = pickedNow.value;
  if (!now || now.slide !== current.value) return;
  if (verdict === "reject" && now.key.startsWith("predictions/")) return;
  paneOf(now.slide)?.drawing.judge(now.key, now.number, verdict, name);
}

/** Give the finding that was clicked the class that new shapes get. */
export function relabel(): void {
  judge("relabel", className.value);
}

/** Make the finding a shape whose corners can be moved. */
export function reshape(): void {
  const now = pickedNow.value;
  const drawing = now && paneOf(now.slide)?.drawing;
  if (!now || !drawing || now.key.startsWith("predictions/")) return;
  const there = drawing.correctionOf(now.key, now.number);
  if (!there) drawing.judge(now.key, now.number, "accept", null);
  drawing.selectWhenThere(now.key, now.number);
  drawTool.value = null;
  tab.value = "annotate";
}

/** What was clicked: its numbers, and whether it is right. */
export function CorrectionPanel({ picked }: { picked: Picked }) {
  void counts.value; // drawn anew when shapes change
  const said = paneOf(picked.slide)?.drawing.correctionOf(picked.key, picked.number);
  const tile = picked.key.startsWith("predictions/");
  const name = picked.key.split("/")[1];
  const classes = [...new Set([...picked.classes, ...(tile ? [] : [className.value])])];
  return (
    <section class="picked" aria-label="What was clicked">
      <h2>
        {tile ? `Tile ${picked.number}, ${name}` : `${name} ${picked.number}`}
        <button type="button" class="plain" aria-label="Close" onClick={() => (pickedNow.value = null)}>
          ×
        </button>
      </h2>
      <p class="verdict" aria-live="polite">
        The model says <strong>{picked.class ?? "nothing"}</strong>
        {said && <Said said={said} />}
      </p>
      <div class="tools">
        <button type="button" aria-pressed={said?.origin?.verdict === "accept"} title="Right (Y)" onClick={() => judge("accept")}>
          Right
        </button>
        {!tile && (
          <>
            <button type="button" aria-pressed={said?.origin?.verdict === "reject"} title="Wrong (U)" onClick={() => judge("reject")}>
              Wrong
            </button>
            <button type="button" title="Move its corners (J)" onClick={reshape}>
              Reshape
            </button>
          </>
        )}
        <select
          aria-label="It is"
          value=""
          onChange={(event) => {
            if (event.currentTarget.value) judge("relabel", event.currentTarget.value);
            event.currentTarget.value = "";
          }}
        >
          <option value="">It is …</option>
          {classes.map((one) => (
            <option>{one}</option>
          ))}
        </select>
      </div>
      <dl class="numbers">
        {Object.entries(picked.numbers).map(([measurement, value]) => (
          <>
            <dt>{measurement}</dt>
            <dd>{value === null ? "–" : Number(value.toPrecision(4))}</dd>
          </>
        ))}
      </dl>
    </section>
  );
}

function Said({ said }: { said: Kept }) {
  const { verdict } = said.origin!;
  const name = verdict === "relabel" ? ` as ${said.class_name}` : "";
  return (
    <span class="state">
      {SAID[verdict]}
      {name} by {said.changed_by}, {when(said.changed)}
    </span>
  );
}

/** How many findings were spoken of, and how a model learns from it. */
export function Tally() {
  const found = Object.entries(verdicts.value);
  if (!found.length) return null;
  return (
    <section>
      <h2>Corrections</h2>
      <p>{found.map(([verdict, count]) => `${count} ${SAID[verdict as Verdict]}`).join(", ")}</p>
      <p class="quiet-text">
        <code>coverslip export RUN --to training</code> writes them as tables that <code>coverslip train</code> takes.
      </p>
    </section>
  );
}
