import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Problem } from "../api";
import { call, me } from "../session";

interface Account {
  id: string;
  name: string;
  role: string;
  email: string | null;
  blocked: boolean;
  comes_by: string[];
  invited: boolean;
}

interface Project {
  name: string;
  slides: string[];
  people: string[];
}

interface Line {
  id: number;
  time: string;
  person: string;
  action: string;
  subject: string;
}

interface Kept {
  lines: Line[];
  count: number;
  last: string;
  first_break: number | null;
}

export const admin = signal(false);
const people = signal<Account[]>([]);
const projects = signal<Project[]>([]);
const kept = signal<Kept | null>(null);
const invitation = signal<{ name: string; link: string } | null>(null);
const wrong = signal("");

const ROLES = ["reader", "annotator", "admin"];
const SHOWN = 200;

async function ask<T>(method: string, address: string, body?: unknown): Promise<T | null> {
  const headers = body === undefined ? undefined : { "Content-Type": "application/json" };
  const answer = await call(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, said?.error ?? `the server answered ${answer.status}`, said?.mend ?? null);
  return said as T;
}

async function act(what: () => Promise<unknown>): Promise<void> {
  wrong.value = "";
  try {
    await what();
    if (me.value?.accounts) {
      people.value = (await ask<Account[]>("GET", "api/people")) ?? [];
      projects.value = (await ask<Project[]>("GET", "api/projects")) ?? [];
    }
    const first = (await ask<Kept>("GET", "api/record?limit=1"))!;
    const last = first.lines.length ? Math.max(0, first.count - SHOWN) : 0;
    kept.value = await ask<Kept>("GET", `api/record?limit=${SHOWN}&skip=${last}`);
  } catch (error) {
    wrong.value = error instanceof Problem ? `${error.message}. To mend: ${error.mend}.` : String(error);
  }
}

/** For administrators: who may come in, who sees what, and who did what. */
export function Admin() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = admin.value;
  useEffect(() => {
    if (!open) {
      dialog.current?.close();
      return;
    }
    if (!dialog.current?.open) dialog.current?.showModal();
    invitation.value = null;
    void act(async () => undefined);
  }, [open]);
  return (
    <dialog ref={dialog} class="admin" aria-labelledby="admin-title" onClose={() => (admin.value = false)}>
      <header>
        <h2 id="admin-title">Administration</h2>
        <button type="button" onClick={() => (admin.value = false)}>
          Close
        </button>
      </header>
      {wrong.value && <p role="alert" class="wrong">{wrong.value}</p>}
      {me.value?.accounts ? (
        <>
          <People />
          <Projects />
        </>
      ) : (
        <p class="quiet-text">This server serves one person. Start it with --accounts for a group.</p>
      )}
      <Record />
    </dialog>
  );
}

function People() {
  return (
    <section>
      <h3>People</h3>
      <table>
        <thead>
          <tr>
            <th>Name</th>
            <th>Role</th>
            <th>Comes by</th>
            <th>State</th>
            <th>
              <span class="quiet">What to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {people.value.map((one) => (
            <PersonRow key={one.id} one={one} />
          ))}
        </tbody>
      </table>
      <form class="line" onSubmit={add}>
        <label>
          Name <input name="name" required />
        </label>
        <label>
          Mail, for single sign-on <input name="email" type="email" />
        </label>
        <label>
          Role{" "}
          <select name="role">
            {ROLES.map((role) => (
              <option>{role}</option>
            ))}
          </select>
        </label>
        <button type="submit">Add and invite</button>
      </form>
      {invitation.value && (
        <p role="status" class="invitation">
          Give {invitation.value.name} this address. It works once, within three days, and is not shown again.
          <input readOnly aria-label={`Invitation of ${invitation.value.name}`} value={invitation.value.link} onFocus={(event) => event.currentTarget.select()} />
        </p>
      )}
    </section>
  );
}

function PersonRow({ one }: { one: Account }) {
  const at = `api/people/${encodeURIComponent(one.id)}`;
  return (
    <tr>
      <td>
        {one.name}
        {one.email && <div class="state">{one.email}</div>}
      </td>
      <td>
        <select aria-label={`Role of ${one.name}`} value={one.role} onChange={(event) => void act(() => ask("PUT", at, { role: event.currentTarget.value }))}>
          {ROLES.map((role) => (
            <option>{role}</option>
          ))}
        </select>
      </td>
      <td>{one.comes_by.join(", ") || "nothing yet"}</td>
      <td>{one.blocked ? "blocked" : one.invited ? "invited" : "active"}</td>
      <td class="do">
        <button type="button" aria-label={`Invite ${one.name} again`} onClick={() => void act(() => invite(one.name, at))}>
          Invite again
        </button>
        <button type="button" aria-label={`${one.blocked ? "Unblock" : "Block"} ${one.name}`} onClick={() => void act(() => ask("PUT", at, { blocked: !one.blocked }))}>
          {one.blocked ? "Unblock" : "Block"}
        </button>
      </td>
    </tr>
  );
}

function add(event: Event): void {
  event.preventDefault();
  const form = event.currentTarget as HTMLFormElement;
  const given = new FormData(form);
  const name = String(given.get("name"));
  void act(async () => {
    const made = await ask<{ invitation: string }>("POST", "api/people", { name, role: given.get("role"), email: given.get("email") || null });
    invitation.value = { name, link: made!.invitation };
    form.reset();
  });
}

async function invite(name: string, at: string): Promise<void> {
  const made = await ask<{ invitation: string }>("POST", `${at}/invitation`);
  invitation.value = { name, link: made!.invitation };
}

function Projects() {
  return (
    <section>
      <h3>Projects</h3>
      <p class="quiet-text">People see the slides of their projects; administrators see all. A pattern names slides, or run/slide; * stands for anything.</p>
      {projects.value.map((project) => (
        <ProjectForm key={project.name} project={project} />
      ))}
      <ProjectForm project={null} />
    </section>
  );
}

function ProjectForm({ project }: { project: Project | null }) {
  const save = (event: Event) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const name = project?.name ?? String(given.get("name"));
    const held = { slides: words(given.get("slides")), people: words(given.get("people")) };
    void act(async () => {
      await ask("PUT", `api/projects/${encodeURIComponent(name)}`, held);
      if (!project) form.reset();
    });
  };
  const what = project?.name ?? "new project";
  return (
    <form class="line" onSubmit={save}>
      {project ? (
        <strong>{project.name}</strong>
      ) : (
        <label>
          New project <input name="name" required />
        </label>
      )}
      <label>
        Slides <input name="slides" aria-label={`Slides of ${what}`} placeholder="lung-*, breast/*" defaultValue={project?.slides.join(", ") ?? ""} />
      </label>
      <label>
        People <input name="people" aria-label={`People of ${what}`} placeholder="Ada, Bob" defaultValue={project?.people.join(", ") ?? ""} />
      </label>
      <button type="submit" aria-label={`Save ${what}`}>
        Save
      </button>
      {project && (
        <button type="button" aria-label={`Remove ${what}`} onClick={() => void act(() => ask("DELETE", `api/projects/${encodeURIComponent(project.name)}`))}>
          Remove
        </button>
      )}
    </form>
  );
}

function words(given: FormDataEntryValue | null): string[] {
  return String(given ?? "")
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);
}

function Record() {
  const now = kept.value;
  if (!now) return null;
  return (
    <section>
      <h3>Record</h3>
      <p class={now.first_break === null ? "quiet-text" : "wrong"}>
        {now.count.toLocaleString("en")} lines.{" "}
        {now.first_break === null ? "The chain is whole." : `Line ${now.first_break} was changed, or the one before it is missing.`} Last digest:{" "}
        <code>{now.last.slice(0, 16)}…</code>
      </p>
      <p>
        <a href="api/record/export?format=csv">Export as CSV</a> · <a href="api/record/export?format=json">as JSON</a>
      </p>
      <div class="lines" tabIndex={0} role="region" aria-label="Newest lines of the record">
        <table>
          <thead>
            <tr>
              <th>When</th>
              <th>Who</th>
              <th>What</th>
              <th>Of what</th>
            </tr>
          </thead>
          <tbody>
            {[...now.lines].reverse().map((line) => (
              <tr key={line.id}>
                <td>{new Date(line.time).toLocaleString("en-GB")}</td>
                <td>{line.person}</td>
                <td>{line.action}</td>
                <td>{line.subject}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
