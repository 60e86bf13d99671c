/** What a model says of a slide, with all that a reader must know of it. */
export interface Suggestion {
  label: string;
  confidence: number;
  probabilities: Record<string, number>;
  target: string;
  use: string;
  model: { name?: string; stage?: string; version?: number | string };
  mpp?: number | null;
  calibrated?: boolean | { method?: string; ece?: number; confidence?: number } | null;
  trained_on?: string | null;
  unlike?: { is: boolean | null; distance?: number; limit?: number; why?: string } | null;
}

const UNKNOWN = "the model does not say";

export function Told({ suggestion: told }: { suggestion: Suggestion }) {
  const { name, stage, version } = told.model;
  const right = typeof told.calibrated === "object" ? told.calibrated?.confidence : undefined;
  return (
    <div class="told" role="group" aria-label="What the model says">
      <p class="says">
        <strong>{told.label}</strong> {(100 * (right ?? told.confidence)).toFixed(0)} % <span class="state">{calibration(told.calibrated)}</span>
      </p>
      {told.unlike?.is && <Unlike why={told.unlike.why} />}
      <Chances chances={told.probabilities ?? {}} />
      <dl>
        <dt>Target</dt>
        <dd>{told.target}</dd>
        <dt>Model</dt>
        <dd>
          {name ?? stage ?? UNKNOWN} {version !== undefined && `version ${version}`}
        </dd>
        <dt>Sees</dt>
        <dd>{told.mpp ? `${told.mpp.toPrecision(3)} µm/px` : UNKNOWN}</dd>
        <dt>Trained on</dt>
        <dd>{told.trained_on ?? UNKNOWN}</dd>
        <dt>This slide</dt>
        <dd>{likeness(told.unlike)}</dd>
      </dl>
      <p class="use">{told.use}</p>
    </div>
  );
}

function calibration(calibrated: Suggestion["calibrated"]): string {
  if (calibrated === true) return "calibrated";
  if (calibrated && typeof calibrated === "object") {
    const error = calibrated.ece === undefined ? "" : `, error ${(100 * calibrated.ece).toFixed(1)} %`;
    return `calibrated${calibrated.method ? ` by ${calibrated.method}` : ""}${error}`;
  }
  return "not calibrated";
}

function likeness(unlike: Suggestion["unlike"]): string {
  if (!unlike || unlike.is === null) return unlike?.why ?? "not compared with the training data";
  return unlike.is ? "unlike the training data" : "like the training data";
}

function Unlike({ why }: { why: string | undefined }) {
  return (
    <p class="warning" role="note">
      This slide is unlike what the model was trained on{why ? `: ${why}` : ""}. Its word counts for little here.
    </p>
  );
}

function Chances({ chances }: { chances: Record<string, number> }) {
  return (
    <ul class="chances" aria-label="Probabilities">
      {Object.entries(chances).map(([name, value]) => (
        <li>
          <span>{name}</span>
          <i>
            <b style={{ width: `${100 * value}%` }} />
          </i>
          <span>{(100 * value).toFixed(1)} %</span>
        </li>
      ))}
    </ul>
  );
}
