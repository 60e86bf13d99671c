import { of, Problem } from "../api";
import { className, classNames, colourOf, counts, drawTool, TOOLS, unsaved, type DrawTool } from "../draw";
import { paneOf } from "../stage";
import { call } from "../session";
import { say } from "../state";

const LABELS: Record<DrawTool, string> = {
  polygon: "Polygon",
  rectangle: "Rectangle",
  ellipse: "Ellipse",
  line: "Line",
  freehand: "Freehand",
  brush: "Brush",
  wand: "Wand",
  point: "Point",
};

const FORMATS = ["geojson", "asap", "imagescope", "ndpa", "dsa", "coco", "camelyon"];

export function DrawPanel({ slide }: { slide: string }) {
  const drawing = paneOf(slide)?.drawing;
  return (
    <section>
      <h2>
        Annotations <small aria-live="polite">{unsaved.value ? `${unsaved.value} not saved yet` : "saved"}</small>
      </h2>
      <div class="tools" role="group" aria-label="Drawing tools">
        {TOOLS.map((tool) => (
          <button type="button" aria-pressed={drawTool.value === tool} onClick={() => (drawTool.value = drawTool.value === tool ? null : tool)}>
            {LABELS[tool]}
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
  );
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
    if (!classNames.value.includes(name)) classNames.value = [...classNames.value, name];
    choose(name);
    field.value = "";
  };
  return (
    <>
      <ul class="legend" role="radiogroup" aria-label="Class">
        {classNames.value.map((name) => (
          <li>
            <label class="toggle">
              <input type="radio" name="class" checked={className.value === name} onChange={() => choose(name)} />
              <i style={{ background: colourOf(name) }} /> {name} <small>{counts.value[name] ?? ""}</small>
            </label>
          </li>
        ))}
      </ul>
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
      const answer = await call(of(slide, "shapes", "import"), { method: "POST", body: file });
      const said = await answer.json();
      if (!answer.ok) throw new Problem(answer.status, said.error, said.mend);
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
