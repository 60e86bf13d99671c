/** Where OpenSeadragon gets its tiles: the slide, a map, or drawn objects. Its level 0 is the coarsest, ours the finest. */

import OpenSeadragon from "openseadragon";
import { of, type Facts, type MapLayer } from "./api";
import { filterText, type Colour, type MapLook, type ObjectLook } from "./state";

interface Sized {
  width: number;
  height: number;
  downsample: number;
}

/** `base` is what the levels' sizes are told by; a finer level than it is none of the picture's own. */
function tileSource(base: Sized, levels: Sized[], tile: (level: number) => [number, number], url: (level: number, x: number, y: number) => string) {
  const last = levels.length - 1;
  const ours = (level: number) => last - level;
  return new OpenSeadragon.TileSource({
    width: base.width,
    height: base.height,
    minLevel: 0,
    maxLevel: last,
    ready: true,
    getLevelScale: (level: number) => base.downsample / levels[ours(level)]!.downsample,
    getTileWidth: (level: number) => tile(ours(level))[0],
    getTileHeight: (level: number) => tile(ours(level))[1],
    getNumTiles: (level: number) => {
      const { width, height } = levels[ours(level)]!;
      const [across, down] = tile(ours(level));
      return new OpenSeadragon.Point(Math.ceil(width / across), Math.ceil(height / down));
    },
    getTileUrl: (level: number, x: number, y: number) => url(ours(level), x, y),
  } as unknown as OpenSeadragon.TileSourceOptions);
}

export function slideSource(facts: Facts, colour: Colour, damaged: Set<string>): OpenSeadragon.TileSource {
  const asked = [colour.icc && facts.has_icc ? "icc=1" : "", colour.stain ? `stain=${colour.stain}` : ""].filter(Boolean);
  return tileSource(
    facts.levels[0]!,
    facts.levels,
    (level) => [facts.levels[level]!.tile_width, facts.levels[level]!.tile_height],
    (level, x, y) => {
      const address = of(facts.id, "tiles", level, x, y);
      const query = damaged.has(address) ? [...asked, "decode=1"] : asked;
      return query.length ? `${address}?${query.join("&")}` : address;
    },
  );
}

export function mapSource(slide: string, layer: MapLayer, look: MapLook): OpenSeadragon.TileSource {
  const query = new URLSearchParams({ scale: look.scale, low: String(look.low), high: String(look.high) });
  if (look.plane) query.set("class", look.plane);
  return tileSource(
    layer.levels[0]!,
    layer.levels,
    () => [layer.tile, layer.tile],
    (level, x, y) => `${of(slide, "maps", layer.name, "tiles", level, x, y)}?${query}`,
  );
}

/** Power of two of the level-0 pixels per pixel at which objects are drawn nearest by. */
const FINEST = -2;

export function objectSource(facts: Facts, name: string, look: ObjectLook): OpenSeadragon.TileSource {
  const coarsest = Math.max(0, Math.ceil(Math.log2(Math.max(facts.width, facts.height) / 512)));
  const levels = Array.from({ length: coarsest - FINEST + 1 }, (_, i) => ({
    width: Math.ceil(facts.width / 2 ** (i + FINEST)),
    height: Math.ceil(facts.height / 2 ** (i + FINEST)),
    downsample: 2 ** (i + FINEST),
  }));
  const filter = filterText(look);
  return tileSource(
    facts.levels[0]!,
    levels,
    () => [512, 512],
    (level, x, y) => `${of(facts.id, "objects", name, "tiles", 2 ** (level + FINEST), x, y)}?${filter}`,
  );
}
