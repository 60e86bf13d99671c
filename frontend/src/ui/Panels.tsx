import { CorrectionPanel } from "./Corrections";
import { DrawPanel } from "./Draw";
import { LayersPanel } from "./Layers";
import { QueuePanel } from "./Queue";
import { ReadingPanel } from "./Reading";
import { Regions } from "./Regions";
import { focusSlide, picked } from "../stage";
import { blind, current, facts, tab, TABS, type Tab } from "../state";

const LABELS: Record<Tab, string> = { layers: "Layers", regions: "Regions", annotate: "Annotate", opinion: "Opinion" };

export function Panels() {
  const slide = current.value;
  return (
    <aside class="panels" aria-label="Layers and results">
      <Tabs />
      {picked.value && picked.value.slide === slide && <CorrectionPanel picked={picked.value} />}
      <div class="tabpanel" role="tabpanel" id="tabpanel" aria-labelledby={`tab-${tab.value}`} tabIndex={0}>
        {slide && <Shown slide={slide} />}
      </div>
      <footer>For research use only</footer>
    </aside>
  );
}

function Shown({ slide }: { slide: string }) {
  const about = facts.value[slide];
  if (blind.value && (tab.value === "layers" || tab.value === "regions")) {
    return (
      <section>
        <p class="quiet-text">What models say of this slide is hidden until your own finding is locked and the suggestion is shown.</p>
      </section>
    );
  }
  switch (tab.value) {
    case "layers":
      return <LayersPanel slide={slide} />;
    case "regions":
      return (
        <>
          <Regions slide={slide} />
          <QueuePanel slide={slide} />
        </>
      );
    case "annotate":
      return about ? <DrawPanel slide={slide} /> : null;
    case "opinion":
      return <ReadingPanel slide={slide} />;
  }
}

export function nextTab(by: number): void {
  tab.value = TABS[(TABS.indexOf(tab.value) + by + TABS.length) % TABS.length]!;
}

function Tabs() {
  const pressed = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    nextTab(by);
    document.getElementById(`tab-${tab.value}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Panels" onKeyDown={pressed}>
      {TABS.map((name) => (
        <button
          type="button"
          role="tab"
          id={`tab-${name}`}
          aria-selected={tab.value === name}
          aria-controls="tabpanel"
          tabIndex={tab.value === name ? 0 : -1}
          title={`${LABELS[name]} (T, Shift+T)`}
          onClick={(event) => {
            tab.value = name;
            if (event.detail) focusSlide(); // who clicks with a mouse goes on with the slide; who uses keys, with the tabs
          }}
        >
          {LABELS[name]}
        </button>
      ))}
    </div>
  );
}

export function Toggle({ label, on, set }: { label: string; on: boolean; set(on: boolean): void }) {
  return (
    <label class="toggle">
      <input type="checkbox" checked={on} onChange={(event) => set(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}
