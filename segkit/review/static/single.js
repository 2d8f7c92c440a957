// @ts-check
/** The single view: one triple, its map to correct, its prompt, and the decision. */

import * as api from "./api.js";
import { Chooser } from "./chooser.js";
import { resolve } from "./conflict.js";
import { el, message } from "./dom.js";
import { Editor } from "./editor.js";
import { legend } from "./legend.js";
import { Prompt } from "./prompt.js";
import { TEXTS } from "./texts.js";
import { MAX_SIZE, Toolbar } from "./toolbar.js";
import { Tools } from "./tools.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./regions.js").Region} Region */
/** @typedef {import("./tools.js").Tool} Tool */

export class Single {
  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Dataset} dataset
   * @param {import("./palette.js").Palette} palette
   * @param {import("./queue.js").Queue} queue
   * @param {{back(): void, moved(position: number): void}} host
   */
  constructor(root, dataset, palette, queue, host) {
    this.root = root;
    this.dataset = dataset;
    this.palette = palette;
    this.queue = queue;
    this.host = host;
    this.position = 0;
    this.current = 0;
    this.look = { patterns: false, isolated: /** @type {number | null} */ (null), confidence: /** @type {Map<number, number> | null} */ (null) };
    this.showsConfidence = false;
    /** @type {Editor | null} */
    this.editor = null;
    /** Editors with changes on their way, and the next triple, loaded ahead. @type {Map<string, Promise<Editor>>} */
    this.editors = new Map();
    this.canvas = el("canvas", { class: "canvas", tabIndex: -1 });
    this.viewer = new Viewer(this.canvas);
    this.chooser = new Chooser(palette, { choose: (label) => this.choose(label), same: () => this.same(), unselect: () => this.unselect() });
    this.prompt = new Prompt(dataset, (text) => this.editor?.change("/api/prompt", { text }));
    this.legend = el("section", { class: "classes" });
    this.toolbar = new Toolbar({
      tool: (tool) => this.tool(tool), size: (value) => this.resize(value), opacity: (value) => this.opacity(value),
      snap: () => this.snap(), names: () => this.names(), patterns: () => this.patterns(),
      confidence: () => this.confidence(), step: (kind) => this.editor?.step(kind), back: () => host.back(),
    }, dataset.assist !== "");
    this.tools = new Tools(this.viewer, {
      select: (pixel, additive) => this.select(pixel, additive), fill: (pixel) => this.fill(pixel),
      pick: (pixel) => this.pick(pixel), point: (place, isInside) => void this.point(place, isInside), hover: (pixel) => this.hover(pixel), label: () => this.current,
      describe: (label, tool) => `${TEXTS.painted[tool]}: ${palette.name(label)}`,
    });
    this.source = el("span", { class: "source" });
    this.reasons = el("span", { class: "reasons" });
    this.split = el("select", { "aria-label": TEXTS.decide.split, onchange: () => this.move(this.split.value) });
    for (const split of dataset.splits) this.split.append(el("option", { value: split }, split));
    this.accept = el("button", { type: "button", class: "accept", onclick: () => this.decide("accepted") }, `✓ ${TEXTS.decide.accept}`, el("kbd", {}, "A"));
    this.reject = el("button", { type: "button", class: "reject", onclick: () => this.decide("rejected") }, `✕ ${TEXTS.decide.reject}`, el("kbd", {}, "X"));
    this.reopen = el("button", { type: "button", onclick: () => this.decide("open") }, TEXTS.decide.open);
    root.append(
      this.toolbar.top, this.toolbar.left,
      el("div", { class: "stage" }, this.canvas, this.toolbar.place),
      el(
        "aside", {}, this.chooser.root, this.legend, this.prompt.root,
        el("section", { class: "decide" }, el("div", { class: "row" }, this.accept, this.reject),
          el("div", { class: "row" }, el("label", {}, TEXTS.decide.split, this.split), this.reopen)),
      ),
    );
    this.tool("region");
    this.resize(24);
    this.opacity(0.5);
    this.wait();
  }

  /** Show the triple at a position of the queue. @param {number} position */
  async open(position) {
    const item = await this.queue.at(position);
    if (!item) return;
    this.prompt.store(); // what was typed belongs to the triple that is left
    this.position = position;
    this.unselect();
    this.tools.cancel();
    this.wait(); // keys pressed meanwhile must not reach the triple that is left
    const editor = await this.load(item.id);
    if (this.position !== position) return;
    this.editor = this.tools.editor = editor;
    this.prompt.text.readOnly = false;
    this.viewer.map = editor.map;
    this.viewer.photo = editor.photo;
    this.relook();
    this.refresh(true);
    if (this.tools.snaps) void this.tools.areas.load(editor.details);
    this.host.moved(position);
    void this.ahead(position + 1);
  }

  /** No triple can be changed until the next one is loaded. */
  wait() {
    this.editor = this.tools.editor = null;
    this.prompt.text.readOnly = true;
    this.toolbar.showState(null);
  }

  /** @param {string} id */
  load(id) {
    let loading = this.editors.get(id);
    if (!loading) {
      loading = Editor.load(id, this.palette, { ...this.look, confidence: null }, resolve).then((editor) => {
        editor.addEventListener("change", () => this.changed(editor));
        editor.addEventListener("refused", () => message(editor.reason, { error: true }));
        editor.addEventListener("reload", () => {
          if (editor !== this.editor) return;
          this.tools.cancel();
          this.unselect();
        });
        return editor;
      });
      this.editors.set(id, loading);
      loading.catch(() => this.editors.delete(id));
    }
    return loading;
  }

  /** Load the next triple ahead, and forget the others, unless they have changes that are not stored. @param {number} position */
  async ahead(position) {
    const next = await this.queue.at(position);
    for (const [id, loading] of this.editors) {
      const editor = await loading.catch(() => null);
      if (editor?.isBusy || id === next?.id || editor === this.editor) continue;
      this.editors.delete(id);
    }
    if (next) await this.load(next.id).catch(() => undefined);
    if (!this.dataset.assist) return;
    for (const id of [this.editor?.details.id, next?.id]) if (id) await api.post("/api/prepare", { id }).catch(() => undefined);
  }

  /** Changes that the server has not acknowledged exist. */
  async isBusy() {
    const editors = await Promise.allSettled(this.editors.values());
    return editors.some((editor) => editor.status === "fulfilled" && editor.value.isBusy);
  }

  /** @param {Editor} editor */
  changed(editor) {
    if (!editor.isBusy) this.queue.update(editor.details);
    if (editor.status === "failed") {
      const text = TEXTS.notSaved(editor.details.source, editor.reason);
      message(text, { error: true, action: TEXTS.retry, run: () => editor.send() });
    }
    if (editor === this.editor) this.refresh(false);
  }

  /** Bring the panels up to date. @param {boolean} isNew */
  refresh(isNew) {
    const editor = this.editor;
    if (!editor) return;
    const { details, map } = editor;
    const item = this.queue.peek(this.position);
    this.source.textContent = `${this.position + 1} / ${this.queue.total}  ${details.source}`;
    this.source.title = details.source;
    this.reasons.textContent = (item?.reasons ?? []).join("; ");
    this.reasons.title = this.reasons.textContent;
    const review = TEXTS.reviews[/** @type {"open"} */ (details.review)];
    this.toolbar.title.replaceChildren(this.source, el("span", { class: `review ${details.review}` }, review), this.reasons);
    this.toolbar.showState(editor);
    this.split.value = details.split;
    this.reopen.disabled = details.review === "open";
    this.prompt.show(details, isNew);
    const names = details.classes.map(([label]) => this.palette.name(label));
    if (isNew) this.prompt.offer(names);
    this.showLegend(map);
    this.chooser.show(this.current, this.viewer.selection?.label ?? null);
    this.viewer.draw();
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
    const confidence = this.confidences.get(label);
    const text = confidence === undefined ? "" : `  ${TEXTS.legend.confidence(confidence)}`;
    this.toolbar.place.textContent = `${this.palette.name(label)}${text}`;
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
    const { runs } = await api.post("/api/assist", { id: editor.details.id, points });
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

  /** Select the next region, largest first. @param {number} step */
  cycle(step) {
    const map = this.editor?.map;
    if (!map) return;
    const regions = map.regions.list();
    const start = this.viewer.selection?.runs[0];
    const place = regions.findIndex((region) => region.runs[0] === start);
    const next = place < 0 ? (step > 0 ? 0 : regions.length - 1) : (place + step + regions.length) % regions.length;
    this.mark(regions[next]);
    const [x, y] = regions[next].spot;
    this.hover(y * map.width + x);
  }

  /** The selection gets a class; without one, it becomes the current class. @param {number} label */
  choose(label) {
    const [selection, editor] = [this.viewer.selection, this.editor];
    this.palette.use(label);
    if (!selection || !editor) {
      if (label !== this.palette.unlabelled) this.current = label;
      else this.tool("eraser");
    } else if (label !== selection.label) {
      const from = selection.label < 0 ? TEXTS.painted.assist : this.palette.name(selection.label);
      const what = TEXTS.edit(from, this.palette.name(label));
      this.viewer.selection = null;
      this.viewer.points = [];
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

  /** Decide, and go on. @param {"open" | "accepted" | "rejected"} review */
  decide(review) {
    if (!this.editor) return;
    this.prompt.store();
    if (this.editor.details.review !== review) this.editor.change("/api/decide", { review });
    if (review !== "open") void this.step(1);
  }

  /** Move to another split. @param {string} split */
  move(split) {
    const editor = this.editor;
    if (!editor || editor.details.split === split) return;
    editor.change("/api/move", { split }, () => {
      message(TEXTS.decide.moved(editor.details.moved?.length ?? 1, split));
      if ((editor.details.moved?.length ?? 1) > 1) void this.queue.reload();
    });
  }

  /** Go to another triple. @param {number} step */
  async step(step) {
    const position = this.position + step;
    if (position < 0 || position >= this.queue.total) {
      return void message(step > 0 ? TEXTS.decide.last : TEXTS.decide.first);
    }
    await this.open(position);
  }
}

/**
 * Return both regions as one; the label is the last one's.
 * @param {Region} a
 * @param {Region} b
 * @returns {Region}
 */
function joined(a, b) {
  const pairs = new Map();
  for (const { runs } of [a, b]) for (let i = 0; i < runs.length; i += 2) pairs.set(runs[i], runs[i + 1]);
  const runs = [...pairs].sort((one, other) => one[0] - other[0]).flat();
  return { ...b, runs, count: runs.reduce((sum, value, i) => sum + (i % 2 ? value : 0), 0) };
}
