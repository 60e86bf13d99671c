/** What is drawn over a slide as lines: tissue, tiles, outlines of objects, measured lengths, a region pointed at. */

export interface Shape {
  points: [number, number][];
  closed: boolean;
  label?: string;
  colour: string;
}

export class Ink {
  readonly canvas: HTMLCanvasElement;
  outlines: { path: Path2D; colour: string }[] = [];
  tissue: Path2D | null = null;
  grid: { path: Path2D; colour: string }[] = [];
  shapes: Shape[] = [];
  pointed: Shape | null = null;
  sketch: Shape | null = null;
  corner: [number, number] | null = null;
  quality: { path: Path2D; colour: string }[] = [];
  showLayers = true;
  /** Milliseconds between the last frames, for the page's own measure of how smooth it is. */
  readonly frames: number[] = [];
  private last = 0;
  private step = 1;

  constructor(
    private readonly host: HTMLElement,
    private readonly toScreen: (x: number, y: number) => [number, number],
  ) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    host.appendChild(this.canvas);
  }

  destroy(): void {
    this.canvas.remove();
  }

  draw(step: number): void {
    this.count();
    this.step = step;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.host;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const empty = this.isEmpty;
    this.canvas.style.display = empty ? "none" : "";
    if (empty) return; // a canvas that is not there costs nothing
    const pen = this.canvas.getContext("2d")!;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const [left, top] = this.toScreen(0, 0);
    pen.setTransform(ratio / step, 0, 0, ratio / step, left * ratio, top * ratio);
    if (this.showLayers) this.drawLayers(pen);
    const once = [this.pointed, this.sketch].filter((shape) => shape !== null);
    for (const shape of [...this.shapes, ...once]) this.drawShape(pen, shape, ratio);
    if (this.corner) this.drawCorner(pen, this.corner, ratio);
  }

  private get isEmpty(): boolean {
    const layers = this.outlines.length + this.grid.length + this.quality.length + (this.tissue ? 1 : 0);
    return !(this.showLayers && layers) && !this.shapes.length && !this.pointed && !this.sketch && !this.corner;
  }

  redraw(): void {
    this.draw(this.step);
  }

  private drawLayers(pen: CanvasRenderingContext2D): void {
    const hair = this.step;
    for (const { path, colour } of this.grid) {
      pen.fillStyle = `${colour}55`;
      pen.fill(path);
      pen.strokeStyle = `${colour}aa`;
      pen.lineWidth = hair * 0.75;
      pen.stroke(path);
    }
    for (const { path, colour } of this.quality) {
      pen.fillStyle = `${colour}77`;
      pen.fill(path);
    }
    if (this.tissue) {
      pen.strokeStyle = "#00B8D9";
      pen.lineWidth = hair * 2;
      pen.stroke(this.tissue);
    }
    for (const { path, colour } of this.outlines) {
      pen.strokeStyle = colour;
      pen.lineWidth = Math.max(hair * 1.25, 0.4);
      pen.stroke(path);
    }
  }

  private drawShape(pen: CanvasRenderingContext2D, shape: Shape, ratio: number): void {
    const points = shape.points.map(([x, y]) => this.toScreen(x, y));
    if (!points.length) return;
    pen.save();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (points.length === 1) pen.arc(...points[0]!, 3, 0, 2 * Math.PI);
    if (shape.closed) pen.closePath();
    pen.lineWidth = 4;
    pen.strokeStyle = "rgba(255,255,255,0.9)";
    pen.stroke();
    pen.lineWidth = 2;
    pen.strokeStyle = shape.colour;
    pen.stroke();
    if (shape.label) label(pen, shape.label, points[points.length - 1]!);
    pen.restore();
  }

  /** The corner that keys move. */
  private drawCorner(pen: CanvasRenderingContext2D, at: [number, number], ratio: number): void {
    const [x, y] = this.toScreen(...at);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.beginPath();
    pen.arc(x, y, 7, 0, 2 * Math.PI);
    pen.fillStyle = "#ffffff";
    pen.fill();
    pen.lineWidth = 3;
    pen.strokeStyle = "#0072B2";
    pen.stroke();
  }

  private count(): void {
    const now = performance.now();
    if (this.last) this.frames.push(now - this.last);
    if (this.frames.length > 240) this.frames.shift();
    this.last = now;
  }
}

function label(pen: CanvasRenderingContext2D, text: string, [x, y]: [number, number]): void {
  pen.font = "600 13px system-ui, sans-serif";
  const { width } = pen.measureText(text);
  pen.fillStyle = "rgba(17,24,32,0.85)";
  pen.fillRect(x + 10, y - 11, width + 12, 22);
  pen.fillStyle = "#ffffff";
  pen.textBaseline = "middle";
  pen.fillText(text, x + 16, y);
}
