import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ask, of, Problem, tell } from "../api";
import { me } from "../session";
import { current } from "../state";
import { Told, type Suggestion } from "./Suggestion";

interface Region {
  id: string;
  slide: string;
  x: number;
  y: number;
  width: number;
  height: number;
  caption: string;
  why: string;
  by: string;
  kept: boolean;
}

interface Measurement {
  id: string;
  slide: string;
  name: string;
  value: number;
  unit: string;
  kept: boolean;
}

interface Content {
  sections: Record<string, string>;
  own: { slide: string; label: string; confidence: number | null; decision: string | null; final: string | null; reason: string | null }[];
  models: (Suggestion & { slide: string })[];
  measurements: Measurement[];
  regions: Region[];
  use: string;
}

interface Kept {
  id: string;
  case: string;
  author: string;
  created: string;
  version: number;
  edit: number;
  saved_by: string;
  saved: string;
  signed_by: string | null;
  signed: string | null;
  digest: string | null;
  whole: boolean;
}

type Report = Kept & { content: Content };

export const reporting = signal(false);
const cases = signal<{ case: string; slides: string[] }[]>([]);
const reports = signal<Kept[]>([]);
const open = signal<Report | null>(null);
const content = signal<Content | null>(null);
const wrong = signal("");
const stands = signal(false);

const HINTS: Record<string, string> = {
  question: "What was asked",
  findings: "What you see",
  conclusion: "What it means; needed before you sign",
};

const changed = computed(() => open.value !== null && JSON.stringify(content.value) !== JSON.stringify(open.value.content));
const mayWrite = computed(() => me.value !== null && me.value.role !== "reader");

/** The draft report of the case in view: gathered by the server, edited and signed here by a person. */
export function ReportDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = reporting.value;
  useEffect(() => {
    if (!shown) {
      dialog.current?.close();
      return;
    }
    if (!dialog.current?.open) dialog.current?.showModal();
    show(null);
    void act(list);
  }, [shown]);
  return (
    <dialog ref={dialog} class="report" aria-labelledby="report-title" onClose={() => (reporting.value = false)} onCancel={leave}>
      <header>
        <h2 id="report-title">{open.value ? `Report of ${open.value.case}` : "Reports"}</h2>
        <span class="group">
          {open.value && (
            <button type="button" onClick={() => leaves() && void act(back)}>
              All reports
            </button>
          )}
          <button type="button" onClick={() => leaves() && (reporting.value = false)}>
            Close
          </button>
        </span>
      </header>
      {wrong.value && (
        <p role="alert" class="wrong">
          {wrong.value}
        </p>
      )}
      {open.value && content.value ? <Editor report={open.value} now={content.value} /> : <List />}
    </dialog>
  );
}

function leaves(): boolean {
  return !changed.value || window.confirm("Leave without saving what you changed?");
}

function leave(event: Event): void {
  if (!leaves()) event.preventDefault();
}

function show(report: Report | null): void {
  open.value = report;
  content.value = report?.content ?? null;
  stands.value = false;
}

async function act(what: () => Promise<unknown>): Promise<void> {
  wrong.value = "";
  try {
    await what();
  } catch (error) {
    wrong.value = error instanceof Problem ? `${error.message}.${error.mend ? ` To mend: ${error.mend}.` : ""}` : String(error);
  }
}

async function list(): Promise<void> {
  cases.value = await ask("api/cases");
  reports.value = await ask("api/reports");
}

async function back(): Promise<void> {
  show(null);
  await list();
}

function List() {
  const here = cases.value.find((one) => current.value !== null && one.slides.includes(current.value));
  return (
    <section>
      {here && mayWrite.value && (
        <button type="button" class="main" onClick={() => void act(async () => show(await tell<Report>("POST", "api/reports", { case: here.case })))}>
          Draft a report of {here.case} ({here.slides.length} slide{here.slides.length === 1 ? "" : "s"})
        </button>
      )}
      {!reports.value.length && <p class="quiet-text">There is no report yet.</p>}
      <ul class="reports">
        {reports.value.map((one) => (
          <li key={one.id}>
            <button type="button" onClick={() => void act(async () => show(await ask<Report>(`api/reports/${one.id}`)))}>
              <strong>{one.case}</strong> <span>{state(one)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function state(one: Kept): string {
  const when = (time: string) => new Date(time).toLocaleString("en-GB");
  if (one.signed) return `version ${one.version}, signed by ${one.signed_by} on ${when(one.signed)}${one.whole ? "" : ": NOT what was signed"}`;
  return `draft, version ${one.version}.${one.edit}, saved by ${one.saved_by} on ${when(one.saved)}`;
}

function Editor({ report, now }: { report: Report; now: Content }) {
  const free = mayWrite.value;
  return (
    <>
      <p class={report.whole ? "quiet-text" : "wrong"}>{state(report)}</p>
      {Object.entries(now.sections).map(([name, text]) => (
        <label class="section" key={name}>
          <span>{name[0]!.toUpperCase() + name.slice(1)}</span>
          <textarea rows={name === "question" ? 2 : 4} readOnly={!free} placeholder={HINTS[name]} value={text} onInput={(event) => (content.value = { ...now, sections: { ...now.sections, [name]: event.currentTarget.value } })} />
        </label>
      ))}
      <Own now={now} />
      {now.models.length > 0 && <h3>What models suggest</h3>}
      <div class="models">
        {now.models.map((one) => (
          <div key={one.slide}>
            <p class="state">{one.slide}</p>
            <Told suggestion={one} />
          </div>
        ))}
      </div>
      <Measurements now={now} free={free} />
      <Regions now={now} free={free} />
      <Foot report={report} now={now} free={free} />
    </>
  );
}

function Own({ now }: { now: Content }) {
  if (!now.own.length) return null;
  return (
    <>
      <h3>Your own finding, before the model's was shown</h3>
      <ul>
        {now.own.map((one) => (
          <li key={one.slide}>
            {one.slide}: <strong>{one.label}</strong>
            {one.confidence !== null && ` (${Math.round(100 * one.confidence)} %)`}
            {one.decision && `, then ${one.decision}: ${one.final}${one.reason ? `, ${one.reason}` : ""}`}
          </li>
        ))}
      </ul>
    </>
  );
}

function Measurements({ now, free }: { now: Content; free: boolean }) {
  if (!now.measurements.length) return null;
  const keep = (id: string, kept: boolean) =>
    (content.value = { ...now, measurements: now.measurements.map((one) => (one.id === id ? { ...one, kept } : one)) });
  return (
    <>
      <h3>Measurements</h3>
      <ul class="measurements">
        {now.measurements.map((one) => (
          <li key={one.id}>
            <label>
              <input type="checkbox" disabled={!free} checked={one.kept} onChange={(event) => keep(one.id, event.currentTarget.checked)} />
              <span>
                {one.slide}: {one.name}
              </span>
              <strong>
                {Number(one.value.toPrecision(4)).toLocaleString("en")} {one.unit}
              </strong>
            </label>
          </li>
        ))}
      </ul>
    </>
  );
}

function Regions({ now, free }: { now: Content; free: boolean }) {
  if (!now.regions.length) return null;
  const change = (id: string, to: Partial<Region>) =>
    (content.value = { ...now, regions: now.regions.map((one) => (one.id === id ? { ...one, ...to } : one)) });
  return (
    <>
      <h3>Regions</h3>
      <div class="regions">
        {now.regions.map((one, i) => (
          <figure key={one.id} class={one.kept ? "" : "out"}>
            <img loading="lazy" alt={`Region ${i + 1} of ${one.slide}: ${one.caption}`} src={`${of(one.slide, "picture")}?x=${one.x}&y=${one.y}&width=${one.width}&height=${one.height}&side=420`} />
            <figcaption>
              <input aria-label={`Caption of region ${i + 1}`} readOnly={!free} value={one.caption} onInput={(event) => change(one.id, { caption: event.currentTarget.value })} />
              <label>
                <input type="checkbox" disabled={!free} checked={one.kept} onChange={(event) => change(one.id, { kept: event.currentTarget.checked })} />
                <span class="state">
                  in the report; {one.slide}, {one.why}, by {one.by}
                </span>
              </label>
            </figcaption>
          </figure>
        ))}
      </div>
    </>
  );
}

function Foot({ report, now, free }: { report: Report; now: Content; free: boolean }) {
  const at = `api/reports/${report.id}`;
  const place = { version: report.version, edit: report.edit };
  const save = async () => {
    const regions = Object.fromEntries(now.regions.map(({ id, kept, caption }) => [id, { kept, caption }]));
    const measurements = Object.fromEntries(now.measurements.map(({ id, kept }) => [id, { kept }]));
    show(await tell<Report>("PUT", at, { ...place, sections: now.sections, regions, measurements }));
  };
  const sign = async () => show(await tell<Report>("POST", `${at}/sign`, place));
  return (
    <footer>
      <span class="state">{now.use}</span>
      <a href={`${at}/pdf?version=${report.version}`} target="_blank" rel="noreferrer">
        PDF
      </a>
      <a href={`${at}?version=${report.version}`} download={`report-${report.case}.json`}>
        JSON
      </a>
      {free && (
        <button type="button" disabled={!changed.value} onClick={() => void act(save)}>
          {report.signed ? "Save as a new version" : "Save"}
        </button>
      )}
      {free && !report.signed && (
        <>
          <label>
            <input type="checkbox" checked={stands.value} onChange={(event) => (stands.value = event.currentTarget.checked)} />
            <span>I have read this report and stand by it</span>
          </label>
          <button type="button" class="main" disabled={!stands.value || changed.value} onClick={() => void act(sign)}>
            Sign
          </button>
        </>
      )}
      {report.digest && <code title={report.digest}>SHA-256 {report.digest.slice(0, 16)}…</code>}
    </footer>
  );
}
