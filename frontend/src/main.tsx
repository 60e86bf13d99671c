import { effect } from "@preact/signals";
import { render } from "preact";
import { api } from "./api";
import { App } from "./ui/App";
import * as state from "./state";
import "./style.css";
import "./admin.css";

async function start(): Promise<void> {
  state.restore(location.hash);
  render(<App />, document.getElementById("app")!);
  try {
    state.slides.value = await api.slides();
  } catch (error) {
    state.say(error);
    return;
  }
  const known = new Set(state.slides.value.map((slide) => slide.id));
  const open = state.panes.value.filter((id) => known.has(id));
  const first = state.slides.value.find((slide) => slide.there);
  state.panes.value = open.length ? open : first ? [first.id] : [];
  let waiting = 0;
  effect(() => {
    state.saved(); // whatever it is made of changes the address, at most a few times a second
    waiting ||= window.setTimeout(() => {
      waiting = 0;
      history.replaceState(null, "", state.saved());
    }, 150);
  });
}

window.addEventListener("hashchange", () => state.restore(location.hash));
void start();
