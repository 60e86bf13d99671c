/** Moving the corners of the selected shape by key. */

import type { ImageAnnotation } from "@annotorious/openseadragon";
import { signal } from "@preact/signals";
import type { Drawing } from "./draw";
import { drawn, kept, type Geometry, type Kept, type Point } from "./shapes";

/** The corner that keys move, in slide pixels. */
export const cornerAt = signal<Point | null>(null);

export class Corners {
  private chosen = -1;

  constructor(
    private readonly drawing: Drawing,
    private readonly step: () => number,
  ) {}

  forget(): void {
    this.chosen = -1;
    cornerAt.value = null;
  }

  /** Choose the next or previous corner of the selected shape. */
  next(by: number): void {
    const ring = this.ring();
    if (!ring) return;
    this.chosen = this.chosen < 0 ? (by > 0 ? 0 : ring.length - 1) : (this.chosen + by + ring.length) % ring.length;
    cornerAt.value = ring[this.chosen]!;
  }

  /** Move the chosen corner by screen pixels. */
  move(x: number, y: number): void {
    this.change((ring, at) => {
      const [fromX, fromY] = ring[at]!;
      ring[at] = [fromX + x * this.step(), fromY + y * this.step()];
    });
  }

  /** Put a corner half way to the next one. */
  insert(): void {
    this.change((ring, at) => {
      const [from, to] = [ring[at]!, ring[(at + 1) % ring.length]!];
      ring.splice(at + 1, 0, [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2]);
      this.chosen = at + 1;
    });
  }

  /** Take the chosen corner away. */
  remove(): boolean {
    return this.change((ring, at) => {
      if (ring.length > 3) ring.splice(at, 1);
      this.chosen = at % ring.length;
    });
  }

  private get one(): ImageAnnotation | undefined {
    return this.drawing.chosen[0];
  }

  /** The outer ring of the selected shape, open; null where it has no corners to move. */
  private ring(): Point[] | null {
    const one = this.one;
    const geometry = one ? (kept(one).geometry as Geometry) : null;
    return geometry?.type === "Polygon" ? geometry.coordinates[0]!.slice(0, -1) : null;
  }

  private change(how: (ring: Point[], at: number) => void): boolean {
    const one = this.one;
    const ring = this.ring();
    if (!one || !ring || this.chosen < 0) return false;
    how(ring, this.chosen);
    const rest = (kept(one).geometry as { coordinates: Point[][] }).coordinates.slice(1);
    const geometry: Geometry = { type: "Polygon", coordinates: [[...ring, ring[0]!], ...rest] };
    const now = drawn({ id: one.id, class_name: null, geometry } as Kept, 1);
    this.drawing.edit(one, { ...now, bodies: one.bodies } as ImageAnnotation);
    cornerAt.value = ring[this.chosen] ?? null;
    return true;
  }
}
