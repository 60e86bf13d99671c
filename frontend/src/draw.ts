/** Drawing on a pane. The library shows, selects and edits shapes; they are drawn by tools of
 * our own, which work in slide pixels at any zoom. */

import type { ImageAnnotation, OpenSeadragonAnnotator } from "@annotorious/openseadragon";
import { signal } from "@preact/signals";
import "@annotorious/openseadragon/annotorious-openseadragon.css";
import { ask, of, type Facts } from "./api";
import { Corners } from "./corners";
import { flush, send, unsaved, versions, whenKept, whenRefused, type Change } from "./outbox";
import { Hand, type Sketch } from "./hand";
import { drawn, kept, type Geometry, type Kept, type Origin, type Point } from "./shapes";
import type OpenSeadragon from "openseadragon";

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#332288"];
const NO_CLASS = "#666666";
const REJECTED = "#B3261E";

/** Screen pixels. */
const POINT = 6;
const REST_MS = 350;

export type Verdict = Origin["verdict"];

export const className = signal("tumour");
export const classNames = signal<string[]>(["tumour", "stroma", "necrosis", "reviewed", "ignore"]);
export const counts = signal<Record<string, number>>({});
export const verdicts = signal<Record<string, number>>({});
/** What is kept of the shapes that are selected, newest state. */
export const selected = signal<Kept[]>([]);

export function colourOf(name: string | null): string {
  const index = name === null ? -1 : classNames.value.indexOf(name);
  return index < 0 ? NO_CLASS : COLOURS[index % COLOURS.length]!;
}

export function knowClass(name: string): void {
  if (!classNames.value.includes(name)) classNames.value = [...classNames.value, name];
}

interface Step {
  back(): void;
  again(): void;
}

export class Drawing {
  readonly corners: Corners;
  readonly hand: Hand;
  private library: OpenSeadragonAnnotator | null = null;
  private gone = false;
  private readonly records = new Map<string, Kept>();
  private readonly timers = new Map<string, number>();
  private readonly names: MutationObserver;
  private awaited = "";
  private done: Step[] = [];
  private undone: Step[] = [];

  constructor(
    readonly viewer: OpenSeadragon.Viewer,
    private readonly facts: Facts,
    private readonly step: () => number,
    preview: (sketch: Sketch | null) => void,
    private readonly say: (error: unknown) => void,
  ) {
    this.corners = new Corners(this, step);
    this.hand = new Hand(viewer, step, preview, (kind, geometry) => this.add(kind, geometry, className.value));
    this.names = named(viewer.element);
    whenRefused(facts.id, (_, problem) => this.refused(problem));
    whenKept(facts.id, (one, change) => this.kept(one, change));
    void this.loadAnew().catch(say);
  }

  /** Have the library do something: at once where it is there, else when it has come. It comes with the first shape. */
  private have(act: (library: OpenSeadragonAnnotator) => void): void {
    if (this.library) {
      act(this.library);
      return;
    }
    void import("@annotorious/openseadragon").then(({ createOSDAnnotator }) => {
      if (this.gone) return;
      this.library ??= this.hooked(createOSDAnnotator(this.viewer, { drawingEnabled: false, autoSave: true } as never));
      act(this.library);
    });
  }

  private hooked(made: OpenSeadragonAnnotator): OpenSeadragonAnnotator {
    made.setStyle(((one: ImageAnnotation) => this.styleOf(one)) as never);
    made.on("createAnnotation", (one) => this.created(one));
    made.on("updateAnnotation", (one, before) => {
      this.changed(one);
      this.did({ back: () => this.replace(before), again: () => this.replace(one) });
    });
    made.on("selectionChanged", () => this.tellSelected());
    return made;
  }

  /** What is selected; nothing, as long as there are no shapes. */
  get chosen(): ImageAnnotation[] {
    return this.library?.getSelected() ?? [];
  }

  deselect(): void {
    this.library?.setSelected();
    this.tellSelected();
  }

  destroy(): void {
    whenRefused(this.facts.id, null);
    whenKept(this.facts.id, null);
    this.names.disconnect();
    this.hand.destroy();
    this.gone = true;
    this.library?.destroy();
  }

  /** Have the server keep what it has not got yet, then show what it has. */
  async loadAnew(): Promise<void> {
    await flush();
    await this.load();
  }

  async load(): Promise<void> {
    const shapes = await ask<Kept[]>(of(this.facts.id, "shapes"));
    this.records.clear();
    for (const one of shapes) {
      versions.set(one.id, one.version);
      this.records.set(one.id, one);
      if (one.class_name !== null) knowClass(one.class_name);
    }
    if (!shapes.length && !this.library) return this.tally();
    this.have((library) => {
      library.setAnnotations(shapes.map((one) => drawn(one, POINT * 2)) as never, true);
      this.tally();
    });
  }

  // -------------------------------------------------------------- undo and redo
  undo(): void {
    const step = this.done.pop();
    if (!step) return;
    step.back();
    this.undone.push(step);
  }

  redo(): void {
    const step = this.undone.pop();
    if (!step) return;
    step.again();
    this.done.push(step);
  }

  did(step: Step): void {
    this.done.push(step);
    this.undone = [];
  }

  /** Replace a shape by one of the same id, as a step that can be undone. */
  edit(before: ImageAnnotation, now: ImageAnnotation): void {
    this.replace(now);
    this.did({ back: () => this.replace(before), again: () => this.replace(now) });
  }

  private replace(one: ImageAnnotation): void {
    this.library?.updateAnnotation(one);
    this.changed(one);
  }

  // -------------------------------------------------------------- selecting
  /** Select the shape after (or before) the one that is selected, and return where it lies. */
  selectNext(by: number): Point | null {
    const all = this.library?.getAnnotations() ?? [];
    if (!all.length) return null;
    const now = all.findIndex((one) => one.id === this.chosen[0]?.id);
    const next = all[(now + by + all.length + (now < 0 && by < 0 ? 1 : 0)) % all.length]!;
    this.library?.setSelected(next.id);
    this.tellSelected(); // the library tells of what the pointer selects alone
    const { minX, minY, maxX, maxY } = next.target.selector.geometry.bounds;
    return [(minX + maxX) / 2, (minY + maxY) / 2];
  }

  private tellSelected(): void {
    const ids = this.chosen.map((one) => one.id);
    if (ids.join() !== selected.value.map((one) => one.id).join()) this.corners.forget();
    selected.value = ids.map((id) => this.records.get(id)).filter((one) => one !== undefined);
  }

  removeSelected(): void {
    for (const one of this.chosen) {
      const { kind, geometry } = kept(one, this.records.get(one.id)?.kind);
      const name = this.classOf(one);
      const origin = this.records.get(one.id)?.origin;
      this.drop(one.id);
      const again = origin ? () => this.sendVerdict(origin, origin.verdict, name) : this.placing(kind, geometry, name);
      let now: string | null = null;
      this.did({ back: () => (now = again()), again: () => now !== null && this.drop(now) });
    }
  }

  reclassSelected(name: string): void {
    for (const one of this.chosen) {
      const body = { id: `${one.id}-class`, annotation: one.id, purpose: "classifying", value: name };
      this.edit(one, { ...one, bodies: [body] } as unknown as ImageAnnotation);
    }
    this.tally();
  }

  private drop(id: string): void {
    this.library?.removeAnnotation(id);
    this.records.delete(id);
    send({ action: "remove", slide: this.facts.id, id });
    this.tally();
  }

  // -------------------------------------------------------------- a model's findings
  /** What somebody said of a model's finding, if anybody did. */
  correctionOf(key: string, number: number): Kept | undefined {
    return [...this.records.values()].find((one) => one.origin?.key === key && one.origin.number === number);
  }

  /** Accept, reject or relabel what a model found. */
  judge(key: string, number: number, verdict: Verdict, name: string | null): void {
    const before = this.correctionOf(key, number);
    this.sendVerdict({ key, number }, verdict, name);
    this.did({
      back: () => {
        const now = this.correctionOf(key, number);
        if (before?.origin) this.sendVerdict(before.origin, before.origin.verdict, before.class_name);
        else if (now) this.drop(now.id);
      },
      again: () => this.sendVerdict({ key, number }, verdict, name),
    });
  }

  /** Select the shape of a correction, now or once the server has it. */
  selectWhenThere(key: string, number: number): void {
    const there = this.correctionOf(key, number);
    if (!there) {
      this.awaited = `${key}:${number}`;
      return;
    }
    this.library?.setSelected(there.id, true);
    this.tellSelected();
  }

  private sendVerdict({ key, number }: { key: string; number: number }, verdict: Verdict, name: string | null): null {
    const id = this.correctionOf(key, number)?.id ?? `${key}:${number}`;
    send({ action: "correct", slide: this.facts.id, id, verdict: { key, number, verdict, class_name: name } });
    return null;
  }

  // -------------------------------------------------------------- what the library and the server tell
  private created(one: ImageAnnotation): void {
    const body = { id: `${one.id}-class`, annotation: one.id, purpose: "classifying", value: className.value };
    const named = one.bodies.length ? one : ({ ...one, bodies: [body] } as unknown as ImageAnnotation);
    if (!one.bodies.length) this.library?.updateAnnotation(named);
    this.post("draw", named);
    this.tally();
  }

  private changed(one: ImageAnnotation): void {
    window.clearTimeout(this.timers.get(one.id));
    this.timers.set(
      one.id,
      window.setTimeout(() => this.post("change", one), REST_MS),
    );
  }

  private post(action: "draw" | "change", one: ImageAnnotation): void {
    const { kind, geometry } = kept(one, this.records.get(one.id)?.kind);
    send({ action, slide: this.facts.id, id: one.id, shape: { kind, geometry, class_name: this.classOf(one) } });
  }

  private kept(one: Kept, change: Change): void {
    this.records.set(one.id, one);
    if (one.class_name !== null) knowClass(one.class_name);
    if (change.action === "correct") {
      this.have((library) => {
        if (library.getAnnotationById(one.id)) library.removeAnnotation(one.id);
        library.addAnnotation(drawn(one, POINT * this.step()) as never);
        if (this.awaited === `${one.origin?.key}:${one.origin?.number}`) library.setSelected(one.id, true);
        this.tellSelected();
        this.awaited = "";
        this.tally();
      });
    }
    this.tellSelected();
    this.tally();
  }

  private refused(problem: Error): void {
    this.say(problem);
    void this.load().catch(this.say);
  }

  private styleOf(one: ImageAnnotation) {
    const verdict = this.records.get(one.id)?.origin?.verdict;
    const colour = verdict === "reject" ? REJECTED : colourOf(this.classOf(one));
    return { fill: colour, fillOpacity: verdict === "reject" ? 0.35 : 0.18, stroke: colour, strokeWidth: 2 };
  }

  private classOf(one: ImageAnnotation): string | null {
    const body = one.bodies.find((part) => part.purpose === "classifying");
    return body ? String(body.value) : null;
  }

  private tally(): void {
    const [found, said]: Record<string, number>[] = [{}, {}];
    for (const one of this.library?.getAnnotations() ?? []) {
      const name = this.classOf(one) ?? "no class";
      found![name] = (found![name] ?? 0) + 1;
      const verdict = this.records.get(one.id)?.origin?.verdict;
      if (verdict) said![verdict] = (said![verdict] ?? 0) + 1;
    }
    counts.value = found!;
    verdicts.value = said!;
  }

  private add(kind: string, geometry: Geometry, name: string | null): void {
    const placing = this.placing(kind, geometry, name);
    let id = placing();
    this.did({ back: () => this.drop(id), again: () => (id = placing()) });
  }

  /** Puts a shape on the slide under a new id, as often as it is called: what was removed does not come back as itself. */
  private placing(kind: string, geometry: Geometry, name: string | null): () => string {
    return () => {
      const id = crypto.randomUUID();
      this.have((library) => {
        library.addAnnotation(drawn({ id, class_name: name, geometry }, POINT * this.step()) as never);
        this.tally();
      });
      send({ action: "draw", slide: this.facts.id, id, shape: { kind, geometry, class_name: name } });
      this.tally();
      return id;
    };
  }
}

/** Give the library's handles a name for those who do not see them. */
function named(element: HTMLElement): MutationObserver {
  const made = new MutationObserver(() => {
    for (const handle of element.querySelectorAll('.a9s-annotationlayer [role="button"]:not([aria-label])')) {
      handle.setAttribute("aria-label", "Move a corner");
    }
  });
  made.observe(element, { childList: true, subtree: true });
  return made;
}

export { unsaved };
