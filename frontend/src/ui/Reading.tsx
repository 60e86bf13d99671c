import { useSignal, useSignalEffect } from "@preact/signals";
import { of, Problem } from "../api";
import { call } from "../session";
import { say } from "../state";

interface Suggestion {
  label: string;
  confidence: number;
  probabilities: Record<string, number>;
  target: string;
  model: Record<string, unknown>;
  use: string;
}

interface Reading {
  id: string;
  finding: { label: string; confidence: number | null; note: string } | null;
  locked: string | null;
  suggestion: Suggestion | null;
  decision: string | null;
  final: { label: string } | null;
  decided: string | null;
}

const DECISIONS: [string, string][] = [
  ["agree", "The model says the same"],
  ["disagree", "I stay with mine"],
  ["override", "I take over the model's"],
];

async function ask(method: string, address: string, body?: unknown): Promise<Reading> {
  const headers = body ? { "Content-Type": "application/json" } : undefined;
  const answer = await call(address, { method, headers, body: body ? JSON.stringify(body) : undefined });
  const said = await answer.json();
  if (!answer.ok) throw new Problem(answer.status, said.error, said.mend);
  return said as Reading;
}

/** Read first, then reveal: the own finding is locked before the model's is shown. */
export function ReadingPanel({ slide }: { slide: string }) {
  const reading = useSignal<Reading | null>(null);
  const shown = useSignal("");
  useSignalEffect(() => {
    if (shown.value !== slide) reading.value = null;
  });
  if (shown.value !== slide) shown.value = slide;
  const act = async (method: string, address: string, body?: unknown) => {
    try {
      reading.value = await ask(method, address, body);
    } catch (error) {
      say(error);
    }
  };
  const now = reading.value;
  return (
    <section>
      <h2>Second opinion</h2>
      {!now && (
        <>
          <p class="quiet-text">Read first; what the model says is shown once your own finding is locked.</p>
          <button type="button" onClick={() => void act("POST", of(slide, "readings"))}>
            Begin reading
          </button>
        </>
      )}
      {now && !now.locked && <Own lock={(finding) => act("PUT", `api/readings/${now.id}/finding`, finding)} />}
      {now?.locked && (
        <p>
          You: <strong>{now.finding!.label}</strong> <span class="state">locked {new Date(now.locked).toLocaleTimeString("en")}</span>
        </p>
      )}
      {now?.locked && !now.suggestion && (
        <button type="button" onClick={() => void act("POST", `api/readings/${now.id}/reveal`)}>
          Show what the model says
        </button>
      )}
      {now?.suggestion && <Told suggestion={now.suggestion} />}
      {now?.suggestion && !now.decided && <Decide decide={(decision) => act("PUT", `api/readings/${now.id}/decision`, decision)} />}
      {now?.decided && (
        <p>
          Final: <strong>{now.final?.label}</strong> <span class="state">{now.decision}</span>
        </p>
      )}
    </section>
  );
}

function Own({ lock }: { lock(finding: { label: string; confidence: number; note: string }): Promise<void> }) {
  const submit = (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void lock({ label: String(form.get("label")), confidence: Number(form.get("confidence")), note: String(form.get("note")) });
  };
  return (
    <form class="reading" onSubmit={submit}>
      <label>
        Finding <input name="label" required />
      </label>
      <label>
        Confidence <input name="confidence" type="range" min={0} max={1} step={0.05} />
      </label>
      <label>
        Note <textarea name="note" rows={2} />
      </label>
      <button type="submit">Lock my finding</button>
    </form>
  );
}

function Told({ suggestion }: { suggestion: Suggestion }) {
  const model = suggestion.model as { stage?: string; version?: number };
  return (
    <div class="told">
      <p>
        Model: <strong>{suggestion.label}</strong> {(100 * suggestion.confidence).toFixed(0)} %
      </p>
      <dl>
        {Object.entries(suggestion.probabilities).map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{(100 * value).toFixed(1)} %</dd>
          </>
        ))}
        <dt>target</dt>
        <dd>{suggestion.target}</dd>
        <dt>made by</dt>
        <dd>
          {model.stage} {model.version}
        </dd>
      </dl>
      <p class="state">{suggestion.use}</p>
    </div>
  );
}

function Decide({ decide }: { decide(decision: { decision: string; reason: string }): Promise<void> }) {
  const reason = useSignal("");
  return (
    <div class="reading">
      <label>
        Reason <textarea rows={2} value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} />
      </label>
      {DECISIONS.map(([decision, label]) => (
        <button type="button" onClick={() => void decide({ decision, reason: reason.value })}>
          {label}
        </button>
      ))}
    </div>
  );
}
