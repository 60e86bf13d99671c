/** Changes on their way to the server. They wait in the browser's storage, so that neither a crash of the page nor of
 * the server loses one; each is sent until it is acknowledged, in order for each shape. */

import { signal } from "@preact/signals";
import { of, Problem } from "./api";
import { call } from "./session";
import type { Kept } from "./shapes";

export type Change =
  | { action: "draw" | "change"; slide: string; id: string; shape: Pick<Kept, "kind" | "class_name" | "geometry"> }
  | { action: "remove"; slide: string; id: string };

const KEY = "coverslip-outbox";
const AGAIN_MS = 2000;

export const unsaved = signal(0);
export const versions = new Map<string, number>();

type Refused = (change: Change, problem: Problem) => void;

let waiting: Change[] = load();
let sending = false;
const listeners = new Map<string, Refused>();

/** Have `listener` told what the server refuses of a slide's changes; null when nobody looks at it any more. */
export function whenRefused(slide: string, listener: Refused | null): void {
  if (listener) listeners.set(slide, listener);
  else listeners.delete(slide);
}

export function send(change: Change): void {
  // a change of a shape that is still waiting takes the place of what waits; what is being sent stays
  const later = waiting.findIndex((one, i) => one.id === change.id && !(sending && i === 0));
  const before = later >= 0 ? waiting[later]! : null;
  if (before && before.action !== "remove" && change.action === "change") {
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
    await ask("DELETE", `${of(change.slide, "shapes", change.id)}?version=${version}`);
    versions.delete(change.id);
    return;
  }
  const body = { id: change.id, ...change.shape };
  const kept =
    change.action === "draw" && version === undefined
      ? await ask("POST", of(change.slide, "shapes"), body)
      : await ask("PUT", of(change.slide, "shapes", change.id), { ...body, version });
  if (kept) versions.set(change.id, kept.version);
}

async function ask(method: string, address: string, body?: unknown): Promise<Kept | null> {
  const answer = await call(address, {
    method,
    headers: body ? { "Content-Type": "application/json" } : undefined,
    body: body ? JSON.stringify(body) : undefined,
  });
  const said = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, said?.error ?? `the server answered ${answer.status}`, said?.mend ?? null);
  return said as Kept | null;
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
