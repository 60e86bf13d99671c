import { useSignal } from "@preact/signals";
import { of, tell } from "../api";
import { Told, type Suggestion } from "./Suggestion";
import { fetchAnew } from "../stage";
import { follow, readings, say } from "../state";

export interface Reading {
  id: string;
  finding: { label: string; confidence: number | null; note: string } | null;
  locked: string | null;
  suggestion: Suggestion | null;
  shown: string | null;
  decision: string | null;
  final: { label: string } | null;
  decided: string | null;
}

const DECISIONS: [string, string][] = [
  ["agree", "The model says the same"],
  ["disagree", "I stay with mine"],
  ["override", "I take over the model's"],
];

/** Read first, then reveal: the own finding is locked before the model's is shown. */
export function ReadingPanel({ slide }: { slide: string }) {
  const act = async (method: string, address: string, body?: unknown) => {
    try {
      const reading = await tell<Reading>(method, address, body);
      if (follow(slide, reading)) await fetchAnew(slide);
    } catch (error) {
      say(error);
    }
  };
  const now = readings.value[slide];
  return (
    <section>
      <h2>Second opinion</h2>
      {!now && (
        <>
          <p class="quiet-text">Read first; what models say is hidden until your own finding is locked.</p>
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
