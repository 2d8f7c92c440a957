// @ts-check
/** The page: the grid of all triples, the view of one, and the keys of both. */

import * as api from "./api.js";
import { byId, clearErrors, message } from "./dom.js";
import { Grid } from "./grid.js";
import { Header, restoreTheme } from "./header.js";
import { Keys } from "./keys.js";
import { Palette } from "./palette.js";
import { Queue } from "./queue.js";
import { gridKeys, singleKeys } from "./shortcuts.js";
import { Single } from "./single.js";
import { TEXTS } from "./texts.js";

async function main() {
  restoreTheme();
  history.replaceState(null, "", location.pathname + location.hash); // the token was only needed once
  /** @type {import("./api.js").Dataset} */
  const dataset = await api.get("/api/dataset");
  document.title = `${dataset.name} – segkit review`;
  const palette = new Palette(dataset);
  const queue = new Queue(dataset.where, dataset.order);
  const keys = new Keys();
  const header = new Header(byId("header"), dataset, queue, () => keys.help());
  const grid = new Grid(byId("grid"), palette, queue, dataset.limit, (position) => show(position));
  const single = new Single(byId("single"), dataset, palette, queue, { back: () => show(null), moved, reload });
  grid.look("overlay");

  /** Know the classes that were added to the palette meanwhile. */
  async function reload() {
    /** @type {import("./api.js").Dataset} */
    const now = await api.get("/api/dataset");
    const added = now.classes.length - palette.names.length;
    if (!added) return;
    palette.load(now);
    header.offer(now);
    single.chooser.search();
    message(TEXTS.added(added));
  }

  /** Tell what check has found, once it is done. */
  async function found() {
    for (;;) {
      const { done, number } = await api.get("/api/found");
      if (!done) {
        await new Promise((go) => setTimeout(go, 1000));
        continue;
      }
      if (!number) return;
      if (queue.total) await queue.reload();
      return void message(TEXTS.found(number), { action: TEXTS.showFound, run: () => void header.filter("check") });
    }
  }

  /** @param {number} position */
  function moved(position) {
    grid.cursor = position;
    history.replaceState(null, "", `#${queue.peek(position)?.id ?? ""}`);
  }

  /** Show one triple, or all. @param {number | null} position */
  async function show(position) {
    if (position !== null && !(await queue.at(position))) return;
    const isGrid = position === null;
    if (isGrid) single.leave();
    byId("grid").hidden = !isGrid;
    byId("single").hidden = isGrid;
    keys.bindings = isGrid ? keys.views.grid : keys.views.single;
    clearErrors();
    grid.isMarked = false;
    if (position !== null) return single.open(position).catch(failed);
    history.replaceState(null, "", location.pathname);
    grid.go(grid.cursor);
    if (document.activeElement !== header.text) grid.scroller.focus(); // who types another filter meanwhile goes on
  }

  const showsHelp = () => keys.help();
  const filter = () => { if (byId("grid").hidden) void show(null); header.text.focus(); };
  keys.views = {
    grid: gridKeys(grid, show, showsHelp, filter),
    single: singleKeys(single, show, showsHelp, filter),
  };
  api.connection.watch();
  queue.addEventListener("open", () => void show(null));
  let isTouched = false; // from then on, only a click or the view of one triple puts other triples into the grid
  for (const event of ["keydown", "pointerdown", "wheel"]) {
    document.addEventListener(event, () => { isTouched = true; }, { once: true, capture: true, passive: true });
  }
  queue.addEventListener("ranked", () => { if (!isTouched || byId("grid").hidden) queue.sort(); });
  queue.addEventListener("sorted", () => {
    if (!byId("grid").hidden) return;
    single.begin();
    message(TEXTS.rankedNext);
  });
  window.addEventListener("beforeunload", (event) => {
    single.prompt.store();
    if (single.busy.size) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    // After a click, Space and Enter are keys of the page again; who goes by keyboard keeps the focus.
    if (event.detail && event.target instanceof Element) event.target.closest("button")?.blur();
  });
  window.addEventListener("unhandledrejection", (event) => failed(event.reason));
  const linked = location.hash.slice(1);
  byId("grid").hidden = false;
  await queue.open(header.where, dataset.order);
  window.addEventListener("focus", () => void reload().catch(() => undefined));
  void found().catch(() => undefined);
  const place = [...queue.items].find(([, item]) => item.id === linked);
  if (place) await show(place[0]);
}

/** Show an error that no part of the page handles. @param {unknown} error */
function failed(error) {
  message(error instanceof Error ? error.message : String(error), { error: true });
}

main().catch(failed);
