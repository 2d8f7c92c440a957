// @ts-check
/** The map of one triple on the canvas: what is selected, the current class, the tools and how everything looks. */

import * as api from "./api.js";
import { Chooser } from "./chooser.js";
import { el } from "./dom.js";
import { legend } from "./legend.js";
import { TEXTS } from "./texts.js";
import { MAX_SIZE, Toolbar } from "./toolbar.js";
import { Tools } from "./tools.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./regions.js").Region} Region */
/** @typedef {import("./tools.js").Tool} Tool */
/** @typedef {import("./editor.js").Editor} Editor */

export class Labelling {
  /**
   * @param {import("./api.js").Dataset} dataset
   * @param {import("./palette.js").Palette} palette
   * @param {{back(): void}} host
   */
  constructor(dataset, palette, { back }) {
    this.dataset = dataset;
    this.palette = palette;
    this.current = 0;
    this.look = { patterns: false, isolated: /** @type {number | null} */ (null), confidence: /** @type {Map<number, number> | null} */ (null) };
    this.showsConfidence = false;
    /** The region, as it was, that got another class last in the map that is shown. @type {Region | null} */
    this.relabelled = null;
    /** An outline that is on its way. @type {Promise<unknown> | null} */
    this.outlining = null;
    /** @type {Editor | null} */
    this.editor = null;
    this.canvas = el("canvas", { class: "canvas", tabIndex: -1 });
    this.viewer = new Viewer(this.canvas);
    this.chooser = new Chooser(palette, { choose: (label) => this.choose(label), same: () => this.same(), unselect: () => this.unselect() });
    this.legend = el("section", { class: "classes" });
    this.toolbar = new Toolbar({
      tool: (tool) => this.tool(tool), size: (value) => this.resize(value), opacity: (value) => this.opacity(value),
      snap: () => this.snap(), names: () => this.names(), patterns: () => this.patterns(),
      confidence: () => this.confidence(), step: (kind) => this.editor?.step(kind), back,
    }, dataset.assist !== "");
    this.tools = new Tools(this.viewer, {
      select: (pixel, additive) => this.select(pixel, additive), fill: (pixel) => this.fill(pixel),
      pick: (pixel) => this.pick(pixel), point: (place, isInside) => void this.point(place, isInside),
      hover: (pixel) => this.hover(pixel), label: () => this.current,
      describe: (label, tool) => `${TEXTS.painted[tool]}: ${palette.name(label)}`,
    });
    this.tool("region");
    this.resize(24);
    this.opacity(0.5);
  }

  /** Show a triple's map, to be changed. @param {Editor} editor */
  attach(editor) {
    this.editor = this.tools.editor = editor;
    this.relabelled = null;
    this.viewer.map = editor.map;
    this.viewer.photo = editor.photo;
    this.relook();
    if (this.tools.snaps) void this.tools.areas.load(editor.details);
  }

  /** Let nothing be changed until the next map is shown. */
  detach() {
    this.unselect();
    this.tools.cancel();
    this.editor = this.tools.editor = null;
    this.toolbar.showState(null);
  }

  /** @param {import("./labelmap.js").LabelMap} map */
  showLegend(map) {
    this.legend.replaceChildren(el("h2", {}, TEXTS.legend.title), legend(map, this.confidences, (label) => this.isolate(label)));
  }

  /** Mean confidence by label. */
  get confidences() {
    return new Map((this.editor?.details.classes ?? []).map(([label, , confidence]) => [label, confidence]));
  }

  /** @param {number} pixel */
  hover(pixel) {
    const map = this.editor?.map;
    if (!map || pixel < 0) {
      this.toolbar.place.textContent = "";
      return;
    }
    const label = map.labels[pixel];
    const [here, mean] = [map.confidence(pixel), this.confidences.get(label)];
    const text = here === undefined ? TEXTS.legend.confidence(mean) : TEXTS.legend.confidenceHere(here);
    this.toolbar.place.textContent = [this.palette.name(label), text].filter(Boolean).join("  ");
  }

  /** Select the region of a pixel. @param {number} pixel @param {boolean} additive */
  select(pixel, additive) {
    const map = this.editor?.map;
    if (!map || pixel < 0) return this.unselect();
    this.mark(map.regions.at(pixel), additive);
  }

  /** @param {Region} region @param {boolean} [additive] */
  mark(region, additive = false) {
    const before = this.viewer.selection;
    this.viewer.selection = additive && before ? joined(before, region) : region;
    this.chooser.show(this.current, region.label);
    this.viewer.draw();
  }

  /**
   * Outline the thing that the clicks so far describe.
   * @param {[number, number]} place
   * @param {boolean} isInside
   */
  async point(place, isInside) {
    const editor = this.editor;
    if (!editor || this.viewer.pixel(place) < 0) return;
    const points = [...this.viewer.points, /** @type {[number, number, boolean]} */ ([...place, isInside])];
    this.viewer.points = points;
    this.viewer.draw();
    const answer = api.post("/api/assist", { id: editor.details.id, points });
    const outlining = (this.outlining = answer.catch(() => undefined));
    void outlining.then(() => { if (this.outlining === outlining) this.outlining = null; });
    const { runs } = await answer;
    if (this.viewer.points !== points || this.editor !== editor) return; // another click or triple has come
    this.viewer.selection = { ...editor.map.regions.ofLabel(-1), runs };
    this.chooser.show(this.current, -1);
    this.viewer.draw();
  }

  unselect() {
    this.viewer.selection = null;
    this.viewer.points = [];
    this.chooser.show(this.current, null);
    this.viewer.draw();
  }

  /** Extend the selection to everything of its class. */
  same() {
    const [selection, map] = [this.viewer.selection, this.editor?.map];
    if (selection && selection.label >= 0 && map) this.mark(map.regions.ofLabel(selection.label));
  }

  /** Select the next region, largest first; after one that got another class, the next smaller one. @param {number} step */
  cycle(step) {
    const map = this.editor?.map;
    if (!map) return;
    const regions = map.regions.list();
    const start = this.viewer.selection?.runs[0];
    let place = regions.findIndex((region) => region.runs[0] === start);
    if (place < 0 && this.relabelled) place = regions.findLastIndex((region) => !isAfter(region, this.relabelled));
    const next = place < 0 ? (step > 0 ? 0 : regions.length - 1) : (place + step + regions.length) % regions.length;
    this.mark(regions[next]);
    const [x, y] = regions[next].spot;
    this.hover(y * map.width + x);
  }

  /**
   * The selection gets a class, with the outline of the last click; without a selection, it becomes the current class.
   * @param {number} label
   */
  choose(label) {
    const [selection, editor] = [this.viewer.selection, this.editor];
    if (this.outlining) return void this.outlining.then(() => this.editor === editor && this.choose(label));
    this.palette.use(label);
    if (!selection || !editor) {
      if (label !== this.palette.unlabelled) this.current = label;
      else this.tool("eraser");
    } else if (label !== selection.label) {
      const from = selection.label < 0 ? TEXTS.painted.assist : this.palette.name(selection.label);
      const what = TEXTS.edit(from, this.palette.name(label));
      this.viewer.selection = null;
      this.viewer.points = [];
      this.relabelled = selection;
      editor.relabel([{ label, runs: selection.runs }], what);
    }
    this.chooser.show(this.current, this.viewer.selection?.label ?? null);
    this.viewer.draw();
  }

  /** @param {number} place of a class used last, from 0 */
  chooseRecent(place) {
    const label = this.palette.recent[place];
    if (label !== undefined) this.choose(label);
  }

  /** @param {number} pixel */
  fill(pixel) {
    const editor = this.editor;
    if (!editor || pixel < 0) return;
    const region = editor.map.regions.at(pixel);
    if (region.label === this.current) return;
    const what = TEXTS.edit(this.palette.name(region.label), this.palette.name(this.current));
    editor.relabel([{ label: this.current, runs: region.runs }], what);
  }

  /** @param {number} pixel */
  pick(pixel) {
    const label = this.editor?.map.labels[pixel];
    if (label === undefined || label === this.palette.unlabelled) return;
    this.current = label;
    this.palette.use(label);
    this.chooser.show(label, this.viewer.selection?.label ?? null);
  }

  /** @param {Tool} tool */
  tool(tool) {
    if (tool !== "region" && tool !== "hand" && tool !== "pick") this.unselect();
    this.tools.choose(tool);
    this.toolbar.showTool(tool);
    this.canvas.dataset.tool = tool;
  }

  /** @param {number} size */
  resize(size) {
    this.tools.size = Math.max(1, Math.min(MAX_SIZE, Math.round(size)));
    this.toolbar.size.value = String(this.tools.size);
    if (this.viewer.brush) this.viewer.brush.size = this.tools.size;
    this.viewer.draw();
  }

  /** @param {number} opacity */
  opacity(opacity) {
    this.viewer.opacity = Math.max(0, Math.min(1, opacity));
    this.toolbar.opacity.value = String(Math.round(100 * this.viewer.opacity));
    this.viewer.draw();
  }

  snap() {
    this.tools.snaps = !this.tools.snaps;
    this.toolbar.snap.setAttribute("aria-pressed", String(this.tools.snaps));
    if (this.tools.snaps && this.editor) void this.tools.areas.load(this.editor.details);
  }

  names() {
    this.viewer.names = !this.viewer.names;
    this.toolbar.names.setAttribute("aria-pressed", String(this.viewer.names));
    this.viewer.draw();
  }

  patterns() {
    this.look.patterns = !this.look.patterns;
    this.relook();
  }

  confidence() {
    this.showsConfidence = !this.showsConfidence;
    this.relook();
  }

  /** @param {number} label */
  isolate(label) {
    this.look.isolated = this.look.isolated === label ? null : label;
    this.relook();
  }

  /** Show only the class of the selection; without one, or again, all. */
  isolateSelected() {
    const label = this.viewer.selection?.label ?? this.look.isolated;
    if (label !== null && label >= 0) this.isolate(label);
  }

  relook() {
    const map = this.editor?.map;
    if (!map) return;
    if (this.look.isolated !== null && !map.labels.includes(this.look.isolated)) this.look.isolated = null;
    map.setLook({ ...this.look, confidence: this.showsConfidence ? this.confidences : null });
    this.toolbar.patterns.setAttribute("aria-pressed", String(this.look.patterns));
    this.toolbar.confidence.setAttribute("aria-pressed", String(this.showsConfidence));
    this.showLegend(map);
    this.viewer.draw();
  }
}

/** Report whether a region comes after another in the order of size. @param {Region} one @param {Region | null} other */
function isAfter(one, other) {
  return other !== null && (one.count < other.count || (one.count === other.count && one.runs[0] > other.runs[0]));
}

/**
 * Return both regions as one; the label is the last one's.
 * @param {Region} a
 * @param {Region} b
 * @returns {Region}
 */
export function joined(a, b) {
  /** @type {[number, number][]} */
  const spans = [];
  for (const { runs } of [a, b]) for (let i = 0; i < runs.length; i += 2) spans.push([runs[i], runs[i] + runs[i + 1]]);
  /** @type {number[]} */
  const runs = [];
  let end = -1;
  for (const [from, to] of spans.sort((one, other) => one[0] - other[0])) { // an outline may overlap a region
    if (to <= end) continue;
    const start = Math.max(from, end);
    runs.push(start, to - start);
    end = to;
  }
  return { ...b, runs, count: runs.reduce((sum, value, i) => sum + (i % 2 ? value : 0), 0) };
}
