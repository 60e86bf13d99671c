/** Outlines of objects as paths, where there are few of them; else the server draws tiles. */

import { api, type Facts, type ObjectFacts, type Outlines } from "./api";
import { filterText, type ObjectLook, type View } from "./state";

/** Objects of a slide, at most, that are drawn as paths, and points that they may have. */
const MOST = 300;
const MOST_POINTS = 20_000;

/** Screen pixels that a typical object must take. */
const NEAR = 4;

export interface Shown {
  name: string;
  look: ObjectLook;
  about: ObjectFacts;
  colours: string[];
}

export class OutlineLayer {
  private found: { path: Path2D; colour: string }[] | null = null;
  private asked = false;
  private readonly abort = new AbortController();

  constructor(
    private readonly facts: Facts,
    readonly shown: Shown,
    private readonly arrived: () => void,
  ) {}

  /** Whether another look needs the same outlines. */
  isSame(other: Shown): boolean {
    return other.name === this.shown.name && filterText(other.look) === filterText(this.shown.look) && other.about.count === this.shown.about.count;
  }

  /** The paths; null where drawn tiles serve better, or while outlines are on their way. */
  paths(view: View): { path: Path2D; colour: string }[] | null {
    const { count, typical_px } = this.shown.about;
    if (count > MOST || typical_px < NEAR * view.step) return null;
    if (!this.asked) this.fetch();
    return this.found;
  }

  forget(): void {
    this.abort.abort();
  }

  private fetch(): void {
    this.asked = true;
    const { name, look, colours } = this.shown;
    api
      .outlines(this.facts.id, name, [0, 0, this.facts.width, this.facts.height], filterText(look), this.abort.signal)
      .then((found) => {
        if (found.xy.length / 2 > MOST_POINTS) return;
        this.found = pathsOf(found, colours.length).map((path, i) => ({ path, colour: colours[i] ?? "#999999" }));
        this.arrived();
      })
      .catch(() => undefined); // the drawn tiles stay
  }
}

/** A path per class; the last is for objects without one. */
function pathsOf({ classes, of, sizes, xy }: Outlines, count: number): Path2D[] {
  const paths = Array.from({ length: count }, () => new Path2D());
  let at = 0;
  sizes.forEach((size, ring) => {
    const code = classes[of[ring]!]!;
    const path = paths[code < 0 ? count - 1 : code]!;
    path.moveTo(xy[at]!, xy[at + 1]!);
    for (let i = 1; i < size - 1; i++) path.lineTo(xy[at + 2 * i]!, xy[at + 2 * i + 1]!);
    path.closePath();
    at += 2 * size;
  });
  return paths;
}
