/** One slide on screen: the picture, the layers over it, and what is drawn by hand. */

import OpenSeadragon from "openseadragon";
import { api, type Facts, type MapLayer } from "./api";
import { Drawing, drawTool } from "./draw";
import { Ink } from "./ink";
import { mapSource, objectSource, slideSource } from "./source";
import { filterText, type Colour, type MapLook, type ObjectLook, type View } from "./state";

/** Screen pixels that an object of 8 µm must take before its outline is drawn instead of a dot. */
const OUTLINE_STEP = 3.5;

/** Level-0 pixels of a piece of outlines that is fetched at once. */
const PIECE = 1536;

const MOST_PIECES = 96;

export interface PaneEvents {
  moved(view: View, pane: Pane): void;
  clicked(x: number, y: number, pane: Pane): void;
  failed(error: unknown): void;
}

export class Pane {
  readonly viewer: OpenSeadragon.Viewer;
  readonly ink: Ink;
  readonly drawing: Drawing;
  private readonly over: OpenSeadragon.Viewer;
  private readonly damaged = new Set<string>();
  private readonly items = new Map<string, OpenSeadragon.TiledImage>();
  private readonly wanted = new Map<string, string>();
  private pieces = new Map<string, { path: Path2D[] | null; abort: AbortController }>();
  private outlined: { name: string; look: ObjectLook; colours: string[] } | null = null;
  private quiet = false;
  private colour: Colour;

  constructor(
    host: HTMLElement,
    readonly facts: Facts,
    colour: Colour,
    private readonly events: PaneEvents,
  ) {
    this.colour = colour;
    const below = layerOf(host, "below");
    const above = layerOf(host, "above");
    this.viewer = OpenSeadragon({
      element: below,
      tileSources: slideSource(facts, colour, this.damaged) as never,
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorAutoFade: false,
      drawer: "canvas",
      animationTime: 0.25,
      springStiffness: 12,
      zoomPerScroll: 1.25,
      zoomPerClick: 1,
      clickTimeThreshold: 1000,
      maxZoomPixelRatio: 8,
      minZoomImageRatio: 0.6,
      visibilityRatio: 0.2,
      imageLoaderLimit: 12,
      maxImageCacheCount: 800,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      keyboardNavEnabled: false as never,
    } as OpenSeadragon.Options);
    this.over = OpenSeadragon({
      element: above,
      showNavigationControl: false,
      mouseNavEnabled: false,
      drawer: "canvas",
      maxZoomPixelRatio: 1e6,
      minZoomImageRatio: 0,
      visibilityRatio: 0,
      imageLoaderLimit: 8,
      animationTime: 0,
    } as OpenSeadragon.Options);
    this.ink = new Ink(layerOf(host, "ink"), (x, y) => this.toScreen(x, y));
    this.drawing = new Drawing(this.viewer, facts, () => this.view?.step ?? 1, (points, closed) => this.sketch(points, closed), events.failed);
    this.viewer.addHandler("open", () => this.follow());
    this.viewer.addHandler("update-viewport", () => this.follow());
    this.viewer.addHandler("resize", () => this.follow());
    this.viewer.addHandler("canvas-click", (event) => {
      if (!event.quick || drawTool.value) return;
      const { x, y } = this.toSlide(event.position.x, event.position.y);
      this.events.clicked(x, y, this);
    });
    this.viewer.addHandler("tile-load-failed", (event) => this.decodeInstead(event as unknown as { tile?: { getUrl(): string } }));
  }

  private sketch(points: [number, number][], closed: boolean): void {
    this.ink.sketch = points.length ? { points, closed, colour: "#FFC400" } : null;
    this.ink.redraw();
  }

  destroy(): void {
    this.drawing.destroy();
    for (const piece of this.pieces.values()) piece.abort.abort();
    this.over.destroy();
    this.viewer.destroy();
    this.ink.destroy();
  }

  // -------------------------------------------------------------- where we are
  get view(): View | null {
    const item = this.viewer.world.getItemAt(0);
    if (!item) return null;
    const centre = item.viewportToImageCoordinates(this.viewer.viewport.getCenter(true));
    return { x: centre.x, y: centre.y, step: 1 / item.viewportToImageZoom(this.viewer.viewport.getZoom(true)) };
  }

  show(view: View, immediately = true): void {
    const item = this.viewer.world.getItemAt(0);
    if (!item) {
      this.viewer.addOnceHandler("open", () => this.show(view, immediately));
      return;
    }
    this.quiet = true;
    this.viewer.viewport.zoomTo(item.imageToViewportZoom(1 / view.step), undefined, immediately);
    this.viewer.viewport.panTo(item.imageToViewportCoordinates(view.x, view.y), immediately);
    this.viewer.viewport.applyConstraints(immediately);
    this.quiet = false;
  }

  home(): void {
    this.viewer.viewport.goHome(false);
  }

  toSlide(x: number, y: number): { x: number; y: number } {
    const item = this.viewer.world.getItemAt(0);
    return item.viewerElementToImageCoordinates(new OpenSeadragon.Point(x, y));
  }

  toScreen(x: number, y: number): [number, number] {
    const item = this.viewer.world.getItemAt(0);
    if (!item) return [0, 0];
    const point = this.viewer.viewport.viewportToViewerElementCoordinates(item.imageToViewportCoordinates(x, y, true));
    return [point.x, point.y];
  }

  private follow(): void {
    const view = this.view;
    if (!view) return;
    const { viewport } = this.viewer;
    if (this.over.world.getItemCount()) {
      this.over.viewport.zoomTo(viewport.getZoom(true), undefined, true);
      this.over.viewport.panTo(viewport.getCenter(true), true);
    }
    this.drawOutlines(view);
    this.ink.draw(view.step);
    if (!this.quiet) this.events.moved(view, this);
  }

  // -------------------------------------------------------------- the picture
  recolour(colour: Colour): void {
    const anew = colour.icc !== this.colour.icc || colour.stain !== this.colour.stain;
    this.colour = colour;
    const canvas = this.viewer.drawer.canvas as HTMLElement;
    canvas.style.filter = `brightness(${colour.brightness}) contrast(${colour.contrast})`;
    if (anew) this.reopen();
  }

  private reopen(): void {
    const old = this.viewer.world.getItemAt(0);
    this.viewer.addTiledImage({
      tileSource: slideSource(this.facts, this.colour, this.damaged) as never,
      index: 0,
      replace: Boolean(old),
    });
  }

  /** A tile whose stored bytes the browser cannot show is asked for decoded: a grey cross, or what can be saved of it. */
  private decodeInstead(event: { tile?: { getUrl(): string } }): void {
    const address = event.tile?.getUrl().split("?")[0];
    if (!address || this.damaged.has(address)) return;
    this.damaged.add(address);
    window.setTimeout(() => this.reopen(), 200);
  }

  // -------------------------------------------------------------- layers
  showMap(layer: MapLayer, look: MapLook): void {
    const key = `map ${layer.name}`;
    const finest = layer.levels[0]!;
    const part = { x: layer.x, y: layer.y, width: finest.width * finest.downsample };
    const identity = JSON.stringify([look.scale, look.low, look.high, look.plane]);
    this.place(key, look.shown, identity, look.opacity, part, () => mapSource(this.facts.id, layer, look));
  }

  showObjects(name: string, look: ObjectLook, colours: string[]): void {
    const part = { x: 0, y: 0, width: this.facts.width };
    const key = `objects ${name}`;
    this.place(key, look.shown, filterText(look), 1, part, () => objectSource(this.facts, name, look));
    const before = this.outlined;
    if (look.shown) this.outlined = { name, look, colours };
    else if (before?.name === name) this.outlined = null;
    if (before && (before.name !== this.outlined?.name || filterText(before.look) !== filterText(look))) this.forgetPieces();
    const view = this.view;
    if (view) this.drawOutlines(view);
  }

  setOverlaysVisible(visible: boolean): void {
    this.over.element.style.visibility = visible ? "visible" : "hidden";
    this.ink.showLayers = visible;
    this.follow();
  }

  private place(
    key: string,
    shown: boolean,
    identity: string,
    opacity: number,
    part: { x: number; y: number; width: number },
    source: () => OpenSeadragon.TileSource,
  ): void {
    const there = this.items.get(key);
    if (there && this.wanted.get(key) === identity && shown) {
      there.setOpacity(opacity);
      return;
    }
    if (there) {
      this.over.world.removeItem(there);
      this.items.delete(key);
    }
    this.wanted.set(key, shown ? identity : "");
    if (!shown) return;
    const scale = 1 / this.facts.width; // a slide is 1 wide in viewport coordinates
    this.over.addTiledImage({
      tileSource: source() as never,
      x: part.x * scale,
      y: part.y * scale,
      width: part.width * scale,
      opacity,
      success: (event) => {
        const item = (event as unknown as { item: OpenSeadragon.TiledImage }).item;
        if (this.wanted.get(key) !== identity) {
          this.over.world.removeItem(item);
          return;
        }
        this.items.set(key, item);
        this.follow();
      },
    });
  }

  // -------------------------------------------------------------- outlines
  private drawOutlines(view: View): void {
    const chosen = this.outlined;
    const close = chosen !== null && view.step < OUTLINE_STEP;
    if (chosen) this.items.get(`objects ${chosen.name}`)?.setOpacity(close ? 0 : 1);
    if (!chosen || !close) {
      this.ink.outlines = [];
      return;
    }
    const paths: { path: Path2D; colour: string }[] = [];
    for (const [column, row] of this.piecesInView(view)) {
      const piece = this.pieces.get(`${column} ${row}`) ?? this.fetchPiece(column, row, chosen);
      piece.path?.forEach((path, i) => paths.push({ path, colour: chosen.colours[i] ?? "#999999" }));
    }
    this.ink.outlines = paths;
  }

  private piecesInView(view: View): [number, number][] {
    const { clientWidth, clientHeight } = this.viewer.element;
    const [halfWidth, halfHeight] = [(clientWidth / 2) * view.step, (clientHeight / 2) * view.step];
    const found: [number, number][] = [];
    for (let row = Math.floor((view.y - halfHeight) / PIECE); row <= (view.y + halfHeight) / PIECE; row++) {
      for (let column = Math.floor((view.x - halfWidth) / PIECE); column <= (view.x + halfWidth) / PIECE; column++) {
        found.push([column, row]);
      }
    }
    return found;
  }

  private fetchPiece(column: number, row: number, chosen: { name: string; look: ObjectLook; colours: string[] }) {
    const piece: { path: Path2D[] | null; abort: AbortController } = { path: null, abort: new AbortController() };
    this.pieces.set(`${column} ${row}`, piece);
    while (this.pieces.size > MOST_PIECES) this.pieces.delete(this.pieces.keys().next().value as string);
    const box: [number, number, number, number] = [column * PIECE, row * PIECE, PIECE, PIECE];
    api
      .outlines(this.facts.id, chosen.name, box, filterText(chosen.look), piece.abort.signal)
      .then((found) => {
        const paths = chosen.colours.map(() => new Path2D());
        found.rings.forEach((ring, i) => {
          const path = paths[found.classes[i]! < 0 ? paths.length - 1 : found.classes[i]!]!;
          ring.forEach(([x, y], j) => (j ? path.lineTo(x, y) : path.moveTo(x, y)));
          path.closePath();
        });
        piece.path = paths;
        this.follow();
      })
      .catch(() => undefined); // the drawn dots stay; the next look asks again
    return piece;
  }

  private forgetPieces(): void {
    for (const piece of this.pieces.values()) piece.abort.abort();
    this.pieces = new Map();
  }

  // -------------------------------------------------------------- pictures
  /** The view as a picture, with a scale bar and the slide's name. */
  async screenshot(bar: { pixels: number; label: string } | null): Promise<Blob> {
    const canvases = [this.viewer.drawer.canvas, this.over.drawer.canvas, this.ink.canvas] as HTMLCanvasElement[];
    const { clientWidth: width, clientHeight: height } = this.viewer.element;
    const ratio = window.devicePixelRatio || 1;
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [width * ratio, height * ratio];
    const pen = picture.getContext("2d")!;
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, picture.width, picture.height);
    canvases.forEach((canvas, i) => {
      pen.filter = i === 0 ? getComputedStyle(canvas).filter : "none";
      if (canvas.width && canvas.height) pen.drawImage(canvas, 0, 0, picture.width, picture.height);
    });
    pen.filter = "none";
    pen.scale(ratio, ratio);
    caption(pen, height, this.facts.id, bar);
    return new Promise((resolve, reject) => {
      picture.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be made"))), "image/png");
    });
  }
}

function layerOf(host: HTMLElement, kind: string): HTMLElement {
  const layer = document.createElement("div");
  layer.className = `layer ${kind}`;
  host.appendChild(layer);
  return layer;
}

function caption(pen: CanvasRenderingContext2D, height: number, name: string, bar: { pixels: number; label: string } | null): void {
  pen.font = "13px system-ui, sans-serif";
  pen.fillStyle = "rgba(255,255,255,0.85)";
  const wide = Math.max(pen.measureText(name).width, bar?.pixels ?? 0) + 20;
  pen.fillRect(10, height - 58, wide, 48);
  pen.fillStyle = "#111820";
  pen.fillText(name, 20, height - 40);
  if (bar) {
    pen.fillRect(20, height - 20, bar.pixels, 3);
    pen.fillText(bar.label, 20, height - 24);
  }
}
