// @ts-check
/** What each key does. */

import { TEXTS } from "./texts.js";

/** @typedef {import("./keys.js").Binding} Binding */
/** @typedef {import("./tools.js").Tool} Tool */

const K = TEXTS.keys;

/**
 * @param {import("./grid.js").Grid} grid
 * @param {(position: number) => void} show
 * @param {() => void} help
 * @param {() => void} filter
 * @returns {Binding[]}
 */
export function gridKeys(grid, show, help, filter) {
  const move = (/** @type {number} */ x, /** @type {number} */ y) => (/** @type {KeyboardEvent} */ event) => grid.move(x, y, event.shiftKey);
  return [
    { keys: ["ArrowLeft", "shift+ArrowLeft"], shown: [], group: "grid", text: K.move, run: move(-1, 0) },
    { keys: ["ArrowRight", "shift+ArrowRight"], shown: ["←↑→↓", "Shift"], group: "grid", text: K.move, run: move(1, 0) },
    { keys: ["ArrowUp", "shift+ArrowUp"], shown: [], group: "grid", text: K.move, run: move(0, -1) },
    { keys: ["ArrowDown", "shift+ArrowDown"], shown: [], group: "grid", text: K.move, run: move(0, 1) },
    { keys: ["Home"], group: "grid", text: K.first, run: () => grid.move(-Infinity, 0) },
    { keys: ["End"], group: "grid", text: K.last, run: () => grid.move(Infinity, 0) },
    { keys: ["a"], group: "decide", text: K.acceptThese, run: () => void grid.decide("accepted") },
    { keys: ["x"], group: "decide", text: K.rejectThese, run: () => void grid.decide("rejected") },
    { keys: ["o"], group: "decide", text: K.reopen, run: () => void grid.decide("open") },
    { keys: ["Enter", "g"], group: "go", text: K.open, run: () => show(grid.cursor) },
    { keys: ["Space"], group: "grid", text: K.select, run: () => grid.mark() },
    { keys: ["ctrl+a"], group: "grid", text: K.selectAll, run: () => grid.all() },
    { keys: ["Escape"], group: "grid", text: K.clear, run: () => grid.clear() },
    { keys: ["/"], group: "go", text: K.filter, run: filter },
    { keys: ["?"], group: "go", text: K.help, run: help },
  ];
}

/**
 * @param {import("./single.js").Single} single
 * @param {(position: number | null) => void} show
 * @param {() => void} help
 * @param {() => void} filter
 * @returns {Binding[]}
 */
export function singleKeys(single, show, help, filter) {
  const tool = (/** @type {string} */ key, /** @type {Tool} */ name) =>
    /** @type {Binding} */ ({ keys: [key], group: "edit", text: K[/** @type {"brush"} */ (name)], run: () => single.tool(name) });
  const split = (/** @type {string} */ key, /** @type {"train" | "val" | "test"} */ name) =>
    /** @type {Binding} */ ({ keys: [key], group: "decide", text: K[name], run: () => single.move(name, true) });
  const { viewer } = single;
  return [
    { keys: ["ArrowRight"], group: "go", text: K.next, run: () => void single.step(1) },
    { keys: ["ArrowLeft"], group: "go", text: K.previous, run: () => void single.step(-1) },
    { keys: ["g"], group: "go", text: K.grid, run: () => show(null) },
    { keys: ["/"], group: "go", text: K.filter, run: filter },
    { keys: ["?"], group: "go", text: K.help, run: help },
    { keys: ["a"], group: "decide", text: K.accept, run: () => single.decide("accepted") },
    { keys: ["x"], group: "decide", text: K.reject, run: () => single.decide("rejected") },
    { keys: ["o"], group: "decide", text: K.reopen, run: () => single.decide("open") },
    split("shift+t", "train"), split("shift+v", "val"), split("shift+e", "test"),
    { keys: ["t"], group: "prompt", text: K.prompt, run: () => single.prompt.focus() },
    {
      keys: ["Space"], group: "show", text: K.photo,
      run: () => { viewer.photoAlone = true; viewer.draw(); }, up: () => { viewer.photoAlone = false; viewer.draw(); },
    },
    { keys: ["h"], group: "show", text: K.hide, run: () => { viewer.mapHidden = !viewer.mapHidden; viewer.draw(); } },
    {
      keys: [",", "."], group: "show", text: K.opacity,
      run: (event) => single.opacity(viewer.opacity + (event.key === "," ? -0.1 : 0.1)),
    },
    {
      keys: ["+", "-", "="], shown: ["+", "-"], group: "show", text: K.zoom,
      run: (event) => viewer.zoomBy(event.key === "-" ? 0.8 : 1.25),
    },
    { keys: ["0"], group: "show", text: K.fit, run: () => viewer.fit() },
    {
      keys: ["shift+ArrowLeft", "shift+ArrowRight", "shift+ArrowUp", "shift+ArrowDown"], shown: ["shift+←↑→↓"], group: "show", text: K.pan,
      run: (event) => viewer.panBy(...pan(event.key)),
    },
    { keys: ["n"], group: "show", text: K.names, run: () => single.names() },
    { keys: ["k"], group: "show", text: K.patterns, run: () => single.patterns() },
    { keys: ["d"], group: "show", text: K.isolate, run: () => single.isolateSelected() },
    { keys: ["y"], group: "show", text: K.confidence, run: () => single.confidence() },
    { keys: ["Tab", "shift+Tab"], group: "edit", text: K.regions, run: (event) => single.cycle(event.shiftKey ? -1 : 1) },
    { keys: ["c"], group: "edit", text: K.choose, run: () => single.chooser.focus() },
    { keys: ["m"], group: "edit", text: K.same, run: () => single.same() },
    {
      keys: "123456789".split(""), shown: ["1", "…", "9"], group: "edit", text: K.recent,
      run: (event) => single.chooseRecent(Number(event.key) - 1),
    },
    { keys: ["u"], group: "edit", text: K.unlabelled, run: () => { if (viewer.selection) single.choose(single.palette.unlabelled); } },
    tool("r", "region"), tool("f", "fill"), tool("b", "brush"), tool("e", "eraser"), tool("p", "polygon"),
    ...(single.dataset.assist ? [tool("q", "assist")] : []), tool("l", "lasso"), tool("i", "pick"), tool("v", "hand"),
    { keys: ["s"], group: "edit", text: K.snap, run: () => single.snap() },
    {
      keys: ["[", "]"], group: "edit", text: K.size,
      run: (event) => single.resize(event.key === "[" ? Math.min(single.tools.size - 1, single.tools.size / 1.25) : Math.max(single.tools.size + 1, single.tools.size * 1.25)),
    },
    { keys: ["ctrl+z", "z"], group: "edit", text: K.undo, run: () => single.editor?.step("undo") },
    { keys: ["ctrl+shift+z", "ctrl+y", "shift+z"], group: "edit", text: K.redo, run: () => single.editor?.step("redo") },
    { keys: ["Enter"], group: "edit", text: K.finish, run: () => single.tools.close() },
    {
      keys: ["Escape"], group: "edit", text: K.cancel,
      run: () => {
        if (single.tools.isDrawing) single.tools.cancel();
        else if (viewer.selection || viewer.points.length) single.unselect();
        else single.tool("region"); // never out of the view: letters mean other things in the grid
      },
    },
  ];
}

/** @param {string} key @returns {[number, number]} */
function pan(key) {
  const step = 80;
  if (key === "ArrowLeft") return [step, 0];
  if (key === "ArrowRight") return [-step, 0];
  return key === "ArrowUp" ? [0, step] : [0, -step];
}
