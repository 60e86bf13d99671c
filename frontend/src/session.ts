/** Who is logged in, and the one way in which the page asks the server for changes. */

import { signal } from "@preact/signals";

export interface Me {
  id: string;
  name: string;
  role: "reader" | "annotator" | "admin";
  csrf: string | null;
  accounts: boolean;
}

export const me = signal<Me | null>(null);

/** True once the server no longer knows this browser: nothing is lost, what was drawn waits in the outbox. */
export const signedOut = signal(false);

let asked: Promise<Me | null> | null = null;

/** Learn who is logged in; one request, however many ask. */
export function know(again = false): Promise<Me | null> {
  if (again) asked = null;
  asked ??= fetch("api/me").then(async (answer) => {
    if (answer.status === 401) signedOut.value = true;
    if (!answer.ok) {
      asked = null;
      return null;
    }
    me.value = (await answer.json()) as Me;
    signedOut.value = false;
    return me.value;
  });
  return asked;
}

/** `fetch`, with what the server wants to see of a change; says so when the login has expired. */
export async function call(address: string, init: RequestInit = {}): Promise<Response> {
  const changes = !["GET", "HEAD"].includes(init.method ?? "GET");
  const answer = await fetch(address, changes ? await marked(init, false) : init);
  if (answer.status === 401) signedOut.value = true;
  if (answer.status !== 403 || !changes) return answer;
  const said = await answer.clone().json().catch(() => null);
  // another login since the page was opened: ask once more, as whoever is logged in now
  return said?.code === "csrf" ? fetch(address, await marked(init, true)) : answer;
}

async function marked(init: RequestInit, again: boolean): Promise<RequestInit> {
  const csrf = (await know(again))?.csrf;
  const headers = new Headers(init.headers);
  if (csrf) headers.set("X-Coverslip-CSRF", csrf);
  return { ...init, headers };
}
