import { api, type Listed } from "../api";
import { active, MOST_PANES, panes, search, shownSlides, slides } from "../state";

export function openSlide(id: string, beside: boolean): void {
  if (panes.value.includes(id)) {
    active.value = panes.value.indexOf(id);
    return;
  }
  if (beside && panes.value.length < MOST_PANES) {
    panes.value = [...panes.value, id];
    active.value = panes.value.length - 1;
    return;
  }
  panes.value = panes.value.length ? panes.value.map((pane, i) => (i === active.value ? id : pane)) : [id];
}

export function SlideList() {
  return (
    <nav class="slides" aria-label="Slides">
      <label class="search">
        <span class="quiet">Search slides</span>
        <input
          id="search"
          type="search"
          placeholder={`Search ${slides.value.length} slide${slides.value.length === 1 ? "" : "s"}`}
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
      </label>
      <ul>
        {shownSlides.value.map((slide) => (
          <SlideRow key={slide.id} slide={slide} />
        ))}
      </ul>
      {!shownSlides.value.length && slides.value.length > 0 && <p class="empty">No slide has that in its name.</p>}
    </nav>
  );
}

function SlideRow({ slide }: { slide: Listed }) {
  const place = panes.value.indexOf(slide.id);
  return (
    <li class={place >= 0 ? "open" : ""} aria-current={place === active.value ? "true" : undefined}>
      <button type="button" class="pick" disabled={!slide.there} onClick={(event) => openSlide(slide.id, event.shiftKey)}>
        <img src={api.thumbnail(slide.id, 128)} alt="" loading="lazy" width={56} height={56} onError={gone} />
        <span class="about">
          <span class="name">{slide.id}</span>
          <span class={`state ${slide.failure ? "failed" : ""}`} title={slide.failure ?? undefined}>
            {stateOf(slide)}
          </span>
        </span>
      </button>
      <button type="button" class="beside" title="Open beside" aria-label={`Open ${slide.id} beside`} onClick={() => openSlide(slide.id, true)}>
        +
      </button>
    </li>
  );
}

function gone(event: Event): void {
  (event.currentTarget as HTMLImageElement).classList.add("gone");
}

function stateOf(slide: Listed): string {
  if (!slide.there) return "the run does not say where it lies";
  if (slide.run === null) return "no results";
  if (slide.failure) return `stopped: ${slide.failure}`;
  const results = slide.results.filter((key) => !["slide", "thumbnail", "page"].includes(key)).length;
  return results ? `done, ${results} result${results === 1 ? "" : "s"}` : "not run yet";
}
