/** Outlines of objects as paths: for few objects and near by. For many, the server draws tiles. */

import { api, type Facts, type ObjectFacts, type Outlines } from "./api";
import { filterText, type ObjectLook, type View } from "./state";

/** Objects in view, at most, that are drawn as paths; a processor draws no more at thirty pictures a second. */
const MOST = 300;

/** Points in view, at most. */
const MOST_POINTS = 40_000;

/** Screen pixels that a typical object must take. */
const NEAR = 4;

const MOST_PIECES = 64;

interface Piece {
  paths: Path2D[] | null;
  points: number;
  abort: AbortController;
}

export interface Shown {
  name: string;
  look: ObjectLook;
  about: ObjectFacts;
  colours: string[];
}

export class OutlineLayer {
  private pieces = new Map<string, Piece>();

  constructor(
    private readonly facts: Facts,
    readonly shown: Shown,
    private readonly arrived: () => void,
  ) {}

  /** Whether another look needs other outlines. */
  isSame(other: Shown): boolean {
    return other.name === this.shown.name && filterText(other.look) === filterText(this.shown.look) && other.about.count === this.shown.about.count;
  }

  /** The paths of what is in view; null where drawn tiles serve better, or while outlines are on their way. */
  paths(view: View, width: number, height: number): { path: Path2D; colour: string }[] | null {
    const { count, typical_px } = this.shown.about;
    const area = Math.min(1, (width * height * view.step ** 2) / (this.facts.width * this.facts.height));
    if (count * area > MOST || typical_px < NEAR * view.step) return null;
    const found: { path: Path2D; colour: string }[] = [];
    let points = 0;
    let waiting = false;
    for (const box of this.boxes(view, width, height)) {
      const piece = this.pieces.get(box.join(" ")) ?? this.fetch(box);
      waiting ||= piece.paths === null;
      points += piece.points;
      piece.paths?.forEach((path, i) => found.push({ path, colour: this.shown.colours[i] ?? "#999999" }));
    }
    return waiting || points > MOST_POINTS ? null : found;
  }

  forget(): void {
    for (const piece of this.pieces.values()) piece.abort.abort();
    this.pieces = new Map();
  }

  /** Pieces in view: squares of about half the view, or the whole slide where there are few objects in all. */
  private boxes(view: View, width: number, height: number): [number, number, number, number][] {
    if (this.shown.about.count <= MOST) return [[0, 0, this.facts.width, this.facts.height]];
    const [halfWidth, halfHeight] = [(width / 2) * view.step, (height / 2) * view.step];
    const side = 2 ** Math.ceil(Math.log2(Math.max(halfWidth, halfHeight)));
    const found: [number, number, number, number][] = [];
    for (let row = Math.floor((view.y - halfHeight) / side); row <= (view.y + halfHeight) / side; row++) {
      for (let column = Math.floor((view.x - halfWidth) / side); column <= (view.x + halfWidth) / side; column++) {
        found.push([column * side, row * side, side, side]);
      }
    }
    return found;
  }

  private fetch(box: [number, number, number, number]): Piece {
    const piece: Piece = { paths: null, points: 0, abort: new AbortController() };
    this.pieces.set(box.join(" "), piece);
    while (this.pieces.size > MOST_PIECES) this.pieces.delete(this.pieces.keys().next().value as string);
    api
      .outlines(this.facts.id, this.shown.name, box, filterText(this.shown.look), piece.abort.signal)
      .then((found) => {
        piece.points = found.xy.length / 2;
        piece.paths = pathsOf(found, this.shown.colours.length);
        this.arrived();
      })
      .catch(() => undefined); // the drawn tiles stay; the next look asks again
    return piece;
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
