/** Lengths, areas and magnifications as people read them. */

const NICE = [1, 2, 5];

export interface Bar {
  pixels: number;
  label: string;
}

/** The longest round length that fits into `room` screen pixels, at so many µm per screen pixel. */
export function scaleBar(umPerPixel: number, room: number): Bar {
  const longest = umPerPixel * room;
  const power = 10 ** Math.floor(Math.log10(longest));
  const step = [...NICE].reverse().find((nice) => nice * power <= longest) ?? 1;
  const length = step * power;
  return { pixels: length / umPerPixel, label: lengthText(length) };
}

export function lengthText(um: number): string {
  if (um >= 1000) return `${digits(um / 1000)} mm`;
  if (um >= 1) return `${digits(um)} µm`;
  return `${digits(um * 1000)} nm`;
}

export function areaText(um2: number): string {
  return um2 >= 1e5 ? `${digits(um2 / 1e6)} mm²` : `${digits(um2)} µm²`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** What a microscope would say: an objective of 10x gives about 1 µm per pixel. */
export function magnification(umPerPixel: number): number {
  return 10 / umPerPixel;
}

export function umPerPixel(magnified: number): number {
  return 10 / magnified;
}

/** Area enclosed by a ring of points (shoelace formula), in square units of the points. */
export function areaOf(ring: readonly (readonly [number, number])[]): number {
  let twice = 0;
  ring.forEach(([x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length]!;
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2;
}

export function lengthOf(line: readonly (readonly [number, number])[]): number {
  let total = 0;
  for (let i = 1; i < line.length; i++) {
    total += Math.hypot(line[i]![0] - line[i - 1]![0], line[i]![1] - line[i - 1]![1]);
  }
  return total;
}

/** A time as everybody reads it, in the reader's own zone. */
export function when(time: string): string {
  const [on, at] = [new Date(time), (part: number) => String(part).padStart(2, "0")];
  return `${on.getFullYear()}-${at(on.getMonth() + 1)}-${at(on.getDate())} ${at(on.getHours())}:${at(on.getMinutes())}`;
}
