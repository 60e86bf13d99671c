/** Changes on their way to the server. They wait in the browser's storage, so that neither a crash of the page nor of
 * the server loses one; each is sent until it is acknowledged, in order for each shape. */

import { signal } from "@preact/signals";
import { of, Problem, tell } from "./api";
import type { Kept } from "./shapes";

export type Change =
  | { action: "draw" | "change"; slide: string; id: string; shape: Pick<Kept, "kind" | "class_name" | "geometry"> }
  | { action: "correct"; slide: string; id: string; verdict: { key: string; number: number; verdict: string; class_name: string | null } }
  | { action: "remove"; slide: string; id: string };

const KEY = "coverslip-outbox";
const AGAIN_MS = 2000;

export const unsaved = signal(0);
export const versions = new Map<string, number>();

type Refused = (change: Change, problem: Problem) => void;

let waiting: Change[] = load();
let sending = false;
const listeners = new Map<string, Refused>();
const keepers = new Map<string, (kept: Kept, change: Change) => void>();

/** Have `listener` told what the server refuses of a slide's changes; null when nobody looks at it any more. */
export function whenRefused(slide: string, listener: Refused | null): void {
  if (listener) listeners.set(slide, listener);
  else listeners.delete(slide);
}

/** Have `keeper` told what the server keeps of a slide's changes; null when nobody looks at it any more. */
export function whenKept(slide: string, keeper: ((kept: Kept, change: Change) => void) | null): void {
  if (keeper) keepers.set(slide, keeper);
  else keepers.delete(slide);
}

export function send(change: Change): void {
  // a change of a shape that is still waiting takes the place of what waits; what is being sent stays
  const later = waiting.findIndex((one, i) => one.id === change.id && !(sending && i === 0));
  const before = later >= 0 ? waiting[later]! : null;
  if (before && (before.action === "draw" || before.action === "change") && change.action === "change") {
    waiting[later] = { ...change, action: before.action };
  } else {
    waiting.push(change);
  }
  store();
  void flush();
}

export async function flush(): Promise<void> {
  if (sending) return;
  sending = true;
  try {
    while (waiting.length) {
      const change = waiting[0]!;
      try {
        await deliver(change);
      } catch (error) {
        if (!(error instanceof Problem) || error.status >= 500 || error.status === 401) throw error;
        listeners.get(change.slide)?.(change, error);
      }
      waiting.shift();
      store();
    }
  } catch {
    window.setTimeout(() => void flush(), AGAIN_MS); // the server is away: it is asked again
  } finally {
    sending = false;
  }
}

async function deliver(change: Change): Promise<void> {
  const version = versions.get(change.id);
  if (change.action === "remove") {
    if (version === undefined) return;
    await tell("DELETE", `${of(change.slide, "shapes", change.id)}?version=${version}`);
    versions.delete(change.id);
    return;
  }
  const kept = await put(change, version);
  versions.set(kept.id, kept.version);
  keepers.get(change.slide)?.(kept, change);
}

function put(change: Exclude<Change, { action: "remove" }>, version: number | undefined): Promise<Kept> {
  if (change.action === "correct") return tell<Kept>("POST", of(change.slide, "corrections"), { ...change.verdict, version });
  const body = { id: change.id, ...change.shape };
  return change.action === "draw" && version === undefined
    ? tell<Kept>("POST", of(change.slide, "shapes"), body)
    : tell<Kept>("PUT", of(change.slide, "shapes", change.id), { ...body, version });
}

function load(): Change[] {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "[]") as Change[];
  } catch {
    return [];
  }
}

function store(): void {
  unsaved.value = waiting.length;
  localStorage.setItem(KEY, JSON.stringify(waiting));
}

unsaved.value = waiting.length;
window.addEventListener("beforeunload", (event) => {
  if (waiting.length) event.preventDefault();
});
