import { Tally } from "./Corrections";
import { of, tell } from "../api";
import { className, classNames, colourOf, counts, knowClass, selected, unsaved } from "../draw";
import { drawTool, TOOLS, type DrawTool } from "../hand";
import { areaOf, areaText, lengthOf, lengthText, when } from "../scale";
import type { Geometry, Kept, Point } from "../shapes";
import { focusSlide, paneOf } from "../stage";
import { facts, say } from "../state";

export const LABELS: Record<DrawTool, { label: string; key: string }> = {
  polygon: { label: "Polygon", key: "G" },
  rectangle: { label: "Rectangle", key: "R" },
  ellipse: { label: "Ellipse", key: "E" },
  line: { label: "Line", key: "I" },
  freehand: { label: "Freehand", key: "H" },
  brush: { label: "Brush", key: "B" },
  wand: { label: "Wand", key: "W" },
  point: { label: "Point", key: "D" },
};

/** Formats that annotations are written in; others can be read. */
const FORMATS = ["geojson", "asap", "imagescope", "ndpa", "dsa", "coco", "voc", "camelyon"];

/** Take a tool, or put it away; keys go to the slide from here on. */
export function take(tool: DrawTool | null): void {
  drawTool.value = drawTool.value === tool ? null : tool;
  focusSlide();
}

export function DrawPanel({ slide }: { slide: string }) {
  const drawing = paneOf(slide)?.drawing;
  return (
    <>
    <section>
      <h2>
        Annotations <small aria-live="polite">{unsaved.value ? `${unsaved.value} not saved yet` : "saved"}</small>
      </h2>
      <div class="tools" role="group" aria-label="Drawing tools">
        {TOOLS.map((tool) => (
          <button type="button" aria-pressed={drawTool.value === tool} title={`${LABELS[tool].label} (${LABELS[tool].key})`} onClick={() => take(tool)}>
            {LABELS[tool].label}
          </button>
        ))}
      </div>
      <div class="tools">
        <button type="button" title="Undo (Ctrl+Z)" onClick={() => drawing?.undo()}>
          Undo
        </button>
        <button type="button" title="Redo (Ctrl+Y)" onClick={() => drawing?.redo()}>
          Redo
        </button>
        <button type="button" title="Remove what is selected (Delete)" onClick={() => drawing?.removeSelected()}>
          Remove
        </button>
      </div>
      <Classes slide={slide} />
      <Files slide={slide} />
    </section>
    {selected.value.map((one) => <Selected key={one.id} one={one} slide={slide} />)}
    <Tally />
    </>
  );
}

/** A shape that is selected: what it is, how large, and who drew it when. */
function Selected({ one, slide }: { one: Kept; slide: string }) {
  const size = sizeOf(one.geometry, facts.value[slide]?.mpp ?? null);
  return (
    <section aria-label="Selected shape">
      <h2>Selected</h2>
      <dl>
        <dt>Shape</dt>
        <dd>{one.kind}</dd>
        <dt>Class</dt>
        <dd>{one.class_name ?? "none"}</dd>
        {size && (
          <>
            <dt>{size.what}</dt>
            <dd>{size.text}</dd>
          </>
        )}
        <dt>Drawn</dt>
        <dd>
          {one.author}, {when(one.created)}
        </dd>
        {one.version > 1 && (
          <>
            <dt>Changed</dt>
            <dd>
              {one.changed_by}, {when(one.changed)}
            </dd>
          </>
        )}
        {one.origin && (
          <>
            <dt>Corrects</dt>
            <dd>
              {one.origin.key} {one.origin.number} ({one.origin.predicted ?? "no class"}): {one.origin.verdict}
            </dd>
          </>
        )}
      </dl>
    </section>
  );
}

function sizeOf(geometry: Geometry, mpp: number | null): { what: string; text: string } | null {
  const unit = mpp ?? 1;
  const inUm = (line: Point[]) => line.map(([x, y]) => [x * unit, y * unit] as Point);
  if (geometry.type === "Point") return null;
  if (geometry.type === "LineString") {
    const length = lengthOf(inUm(geometry.coordinates));
    return { what: "Length", text: mpp === null ? `${length.toFixed(0)} px` : lengthText(length) };
  }
  const parts = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  const area = parts.reduce((sum, [outer, ...holes]) => sum + areaOf(inUm(outer!)) - holes.reduce((all, hole) => all + areaOf(inUm(hole)), 0), 0);
  return { what: "Area", text: mpp === null ? `${area.toFixed(0)} px²` : areaText(area) };
}

function Classes({ slide }: { slide: string }) {
  const choose = (name: string) => {
    className.value = name;
    paneOf(slide)?.drawing.reclassSelected(name);
  };
  const add = (event: Event) => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem("name") as HTMLInputElement;
    const name = field.value.trim();
    if (!name) return;
    knowClass(name);
    choose(name);
    field.value = "";
  };
  return (
    <>
      <div class="legend" role="radiogroup" aria-label="Class">
        {classNames.value.map((name) => (
          
            <label class="toggle" key={name}>
              <input type="radio" name="class" checked={className.value === name} onChange={() => choose(name)} />
              <i style={{ background: colourOf(name) }} /> {name} <small>{counts.value[name] ?? ""}</small>
            </label>
          
        ))}
      </div>
      <form class="tools" onSubmit={add}>
        <input name="name" aria-label="New class" placeholder="New class" />
        <button type="submit">Add</button>
      </form>
    </>
  );
}

function Files({ slide }: { slide: string }) {
  const take = async (event: Event) => {
    const field = event.currentTarget as HTMLInputElement;
    const file = field.files?.[0];
    if (!file) return;
    try {
      await tell("POST", of(slide, "shapes", "import"), file);
      await paneOf(slide)?.drawing.load();
    } catch (error) {
      say(error);
    }
    field.value = "";
  };
  return (
    <div class="tools">
      <label class="file">
        Import
        <input type="file" aria-label="Import annotations" onChange={(event) => void take(event)} />
      </label>
      <select
        aria-label="Export annotations"
        onChange={(event) => {
          const { value } = event.currentTarget;
          if (value) window.location.assign(`${of(slide, "shapes", "export")}?format=${value}`);
          event.currentTarget.value = "";
        }}
      >
        <option value="">Export …</option>
        {FORMATS.map((name) => (
          <option>{name}</option>
        ))}
      </select>
    </div>
  );
}
