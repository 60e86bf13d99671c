"use strict";
(() => {
  const switches = [...document.querySelectorAll("input[data-layer]")];
  const show = (box) => { document.getElementById(box.dataset.layer).style.display = box.checked ? "" : "none"; };
  const set = (box, on) => { box.checked = on; show(box); };
  for (const box of switches) { show(box); box.addEventListener("change", () => show(box)); }
  const strength = document.querySelector("input[data-strength]");
  const paint = () => document.documentElement.style.setProperty("--strength", strength.value / 100);
  if (strength) { paint(); strength.addEventListener("input", paint); }
  const zoom = document.querySelector("input[data-zoom]");
  if (zoom) zoom.addEventListener("input", () => {
    const stage = document.querySelector(".stage"), middle = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
    const centre = (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight;
    stage.style.height = zoom.value === "1" ? "" : `${stage.offsetHeight}px`;
    stage.classList.toggle("zoomed", zoom.value !== "1");
    stage.style.setProperty("--zoom", zoom.value);
    stage.scrollTo(middle * stage.scrollWidth - stage.clientWidth / 2, centre * stage.scrollHeight - stage.clientHeight / 2);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search]")) return;
    if (event.key === "0") switches.forEach((box) => set(box, false));
    for (const box of switches) if (box.dataset.key === event.key) set(box, !box.checked);
  });

  const table = document.querySelector("table[data-slides]");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows];
  const search = document.querySelector("input[data-search]"), only = [...document.querySelectorAll("input[name=only]")];
  const count = document.querySelector("[data-count]");
  const sift = () => {
    const words = search.value.toLowerCase().split(/\s+/), kind = only.find((box) => box.checked).value;
    let shown = 0;
    for (const row of rows) {
      const fits = (kind === "all" || row.dataset.kind.split(" ").includes(kind)) && words.every((word) => row.dataset.words.includes(word));
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
  };
  search.addEventListener("input", sift);
  for (const box of only) box.addEventListener("change", sift);
  const worth = (row, index) => { const text = row.cells[index].dataset.value; return text === undefined ? row.cells[index].textContent : text === "" ? -Infinity : Number(text); };
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const way = up ? 1 : -1;
      const compare = (a, b) => { const p = worth(a, index), q = worth(b, index); return way * (typeof p === "string" ? p.localeCompare(q, "en", { numeric: true }) : p === q ? 0 : p < q ? -1 : 1); };
      body.append(...rows.sort(compare));
    });
  });
})();
