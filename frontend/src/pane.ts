/** One slide on screen: the picture, the layers over it, and what is drawn by hand. */

import OpenSeadragon from "openseadragon";
import type { Facts, MapLayer } from "./api";
import { Drawing } from "./draw";
import { drawTool } from "./hand";
import { Ink } from "./ink";
import { OutlineLayer, type Shown } from "./outlined";
import { mapSource, objectSource, slideSource } from "./source";
import { filterText, type Colour, type MapLook, type View } from "./state";

const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

export interface PaneEvents {
  moved(view: View, pane: Pane): void;
  clicked(x: number, y: number, pane: Pane): void;
  failed(error: unknown): void;
}

export class Pane {
  readonly viewer: OpenSeadragon.Viewer;
  readonly ink: Ink;
  readonly drawing: Drawing;
  private readonly damaged = new Set<string>();
  private readonly items = new Map<string, OpenSeadragon.TiledImage>();
  private readonly wanted = new Map<string, string>();
  private readonly opacities = new Map<string, number>();
  private readonly asPaths = new Set<string>();
  private layersShown = true;
  private readonly outlined = new Map<string, OutlineLayer>();
  private quiet = false;
  private colour: Colour;

  constructor(
    readonly host: HTMLElement,
    readonly facts: Facts,
    colour: Colour,
    private readonly events: PaneEvents,
  ) {
    this.colour = colour;
    const below = layerOf(host, "below");
    const ink = layerOf(host, "ink");
    const overview = layerOf(host, "overview");
    overview.id = `overview-${crypto.randomUUID()}`;
    this.viewer = OpenSeadragon({
      element: below,
      tileSources: slideSource(facts, colour, this.damaged) as never,
      showNavigationControl: false,
      showNavigator: true,
      navigatorId: overview.id,
      navigatorAutoFade: false,
      drawer: "canvas",
      animationTime: calm() ? 0.001 : 0.25, // none at all is more than the library's springs can bear
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
      silenceMultiImageWarnings: true, // all items share the slide's coordinates
    } as OpenSeadragon.Options);
    this.ink = new Ink(ink, (x, y) => this.toScreen(x, y));
    this.drawing = new Drawing(this.viewer, facts, () => this.view?.step ?? 1, (sketch) => this.sketch(sketch), events.failed);
    this.viewer.addHandler("open", () => {
      this.follow();
      whole(this.viewer.world.getItemAt(0), "coverslip:view");
    });
    this.viewer.addHandler("update-viewport", () => this.follow());
    this.viewer.addHandler("resize", () => this.follow());
    this.viewer.addHandler("canvas-click", (event) => {
      if (!event.quick || drawTool.value) return;
      const { x, y } = this.toSlide(event.position.x, event.position.y);
      this.events.clicked(x, y, this);
    });
    this.viewer.addHandler("tile-drawing", (event) => this.tint(event as never));
    overviewOf(this.viewer).world.addHandler("add-item", ({ item }) => keepOut(overviewOf(this.viewer), item));
    this.viewer.addHandler("tile-load-failed", (event) => this.decodeInstead(event as unknown as { tile?: { getUrl(): string } }));
  }

  private sketch(sketch: { points: [number, number][]; closed: boolean } | null): void {
    this.ink.sketch = sketch?.points.length ? { ...sketch, colour: "#FFC400" } : null;
    this.ink.redraw();
  }

  destroy(): void {
    this.drawing.destroy();
    for (const layer of this.outlined.values()) layer.forget();
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

  show(view: View, atOnce = true): void {
    const immediately = atOnce || calm();
    const item = this.viewer.world.getItemAt(0);
    if (!item) {
      this.viewer.addOnceHandler("open", () => this.show(view, atOnce));
      return;
    }
    this.quiet = true;
    this.viewer.viewport.zoomTo(item.imageToViewportZoom(1 / view.step), undefined, immediately);
    this.viewer.viewport.panTo(item.imageToViewportCoordinates(view.x, view.y), immediately);
    this.viewer.viewport.applyConstraints(immediately);
    this.quiet = false;
  }

  home(): void {
    this.viewer.viewport.goHome(calm());
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
    this.drawOutlines(view);
    this.ink.draw(view.step);
    if (!this.quiet) this.events.moved(view, this);
  }

  // -------------------------------------------------------------- the picture
  recolour(colour: Colour): void {
    const anew = colour.icc !== this.colour.icc || colour.stain !== this.colour.stain;
    this.colour = colour;
    if (anew) this.reopen();
    this.viewer.forceRedraw();
  }

  /** Brightness and contrast are of the slide alone, not of what lies over it. */
  private tint({ tiledImage, context }: { tiledImage: OpenSeadragon.TiledImage; context: CanvasRenderingContext2D }): void {
    const { brightness, contrast } = this.colour;
    const plain = brightness === 1 && contrast === 1;
    const wanted = plain || tiledImage !== this.viewer.world.getItemAt(0) ? "none" : `brightness(${brightness}) contrast(${contrast})`;
    if (context.filter !== wanted) context.filter = wanted;
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

  showObjects(shown: Shown): void {
    const { name, look } = shown;
    const part = { x: 0, y: 0, width: this.facts.width };
    this.place(`objects ${name}`, look.shown, filterText(look), 1, part, () => objectSource(this.facts, name, look));
    const before = this.outlined.get(name);
    if (!look.shown || !before?.isSame(shown)) {
      before?.forget();
      this.outlined.delete(name);
      if (look.shown) this.outlined.set(name, new OutlineLayer(this.facts, shown, () => this.follow()));
    }
    const view = this.view;
    if (view) this.drawOutlines(view);
    this.ink.redraw();
  }

  setOverlaysVisible(visible: boolean): void {
    this.layersShown = visible;
    for (const [key, item] of this.items) item.setOpacity(this.opacityOf(key));
    this.ink.showLayers = visible;
    this.follow();
  }

  private opacityOf(key: string): number {
    return this.layersShown && !this.asPaths.has(key) ? (this.opacities.get(key) ?? 1) : 0;
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
    this.opacities.set(key, opacity);
    if (there && this.wanted.get(key) === identity && shown) {
      there.setOpacity(this.opacityOf(key));
      return;
    }
    if (there) {
      this.viewer.world.removeItem(there);
      this.items.delete(key);
    }
    this.wanted.set(key, shown ? identity : "");
    if (!shown) return;
    const scale = 1 / this.facts.width; // a slide is 1 wide in viewport coordinates
    this.viewer.addTiledImage({
      tileSource: source() as never,
      x: part.x * scale,
      y: part.y * scale,
      width: part.width * scale,
      opacity: this.opacityOf(key),
      success: (event) => {
        const item = (event as unknown as { item: OpenSeadragon.TiledImage }).item;
        if (this.wanted.get(key) !== identity) {
          this.viewer.world.removeItem(item);
          return;
        }
        this.items.set(key, item);
        if (key.startsWith("objects ")) whole(item, "coverslip:objects");
        this.follow();
      },
    });
  }

  // -------------------------------------------------------------- outlines
  /** Few objects are drawn as paths; many as tiles that the server draws. */
  private drawOutlines(view: View): void {
    this.ink.outlines = [];
    for (const [name, layer] of this.outlined) {
      const paths = layer.paths(view);
      const key = `objects ${name}`;
      if (paths) this.asPaths.add(key);
      else this.asPaths.delete(key);
      this.items.get(key)?.setOpacity(this.opacityOf(key));
      if (paths) this.ink.outlines.push(...paths);
    }
  }

  // -------------------------------------------------------------- pictures
  /** The view as a picture, with a scale bar and the slide's name. */
  async screenshot(bar: { pixels: number; label: string } | null): Promise<Blob> {
    const canvases = [this.viewer.drawer.canvas, this.ink.canvas] as HTMLCanvasElement[];
    const { clientWidth: width, clientHeight: height } = this.viewer.element;
    const ratio = window.devicePixelRatio || 1;
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [width * ratio, height * ratio];
    const pen = picture.getContext("2d")!;
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, picture.width, picture.height);
    for (const canvas of canvases) {
      if (canvas.width && canvas.height && canvas.style.display !== "none") pen.drawImage(canvas, 0, 0, picture.width, picture.height);
    }
    pen.scale(ratio, ratio);
    caption(pen, height, this.facts.id, bar);
    return new Promise((resolve, reject) => {
      picture.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be made"))), "image/png");
    });
  }
}

function overviewOf(viewer: OpenSeadragon.Viewer): OpenSeadragon.Viewer {
  return (viewer as unknown as { navigator: OpenSeadragon.Viewer }).navigator;
}

/** The overview map shows the slide, and nothing of what lies over it. */
function keepOut(overview: OpenSeadragon.Viewer, item: OpenSeadragon.TiledImage): void {
  if (overview.world.getItemAt(0) !== item) window.setTimeout(() => overview.world.removeItem(item), 0);
}

/** Say to the browser's own clock when all of a layer was on the screen for the first time. */
function whole(item: OpenSeadragon.TiledImage, mark: string): void {
  const said = () => {
    if (!item.getFullyLoaded() || performance.getEntriesByName(mark).length) return;
    requestAnimationFrame(() => performance.mark(mark));
  };
  item.addHandler("fully-loaded-change", said);
  said();
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
