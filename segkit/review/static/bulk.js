// @ts-check
/** Changes of many triples: decisions, and one class for another, with a preview and one undo. */

import * as api from "./api.js";
import { ask, el, message } from "./dom.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.grid;
const B = TEXTS.bulk;
/** Triples that are decided on before the page says how far it is. */
const TOGETHER = 50;

export class Bulk {
  /**
   * @param {import("./palette.js").Palette} palette
   * @param {import("./queue.js").Queue} queue
   * @param {import("./grid.js").Grid} grid
   */
  constructor(palette, queue, grid) {
    this.palette = palette;
    this.queue = queue;
    this.grid = grid;
    const button = (/** @type {string} */ text, /** @type {() => void} */ run) => el("button", { type: "button", onclick: run }, text);
    this.count = el("strong");
    this.selection = el(
      "div", { class: "row" }, this.count,
      button(T.accept, () => this.decideSelected("accepted")), button(T.reject, () => this.decideSelected("rejected")),
      button(T.changeClass, () => this.changeClass()), button(T.none, () => grid.clear()),
    );
    this.acceptVisible = button(T.acceptPage, () => this.acceptPage());
    this.hint = el("span", { class: "hint" }, T.hint);
    this.views = el("div", { class: "views", role: "group" });
    for (const [view, text] of Object.entries(TEXTS.view)) {
      this.views.append(el("button", { type: "button", "data-view": view, onclick: () => grid.look(view) }, text));
    }
    this.root = el(
      "div", { class: "bulk" }, this.views, this.selection, this.hint,
      el("div", { class: "row end" }, button(T.all, () => grid.all()), this.acceptVisible),
    );
  }

  show() {
    this.acceptVisible.disabled = !this.queue.total;
    const { size } = this.grid.selected;
    this.selection.hidden = !size;
    this.hint.hidden = size > 0;
    this.count.textContent = T.selected(size);
    for (const button of this.views.children) {
      button.setAttribute("aria-pressed", String(button.getAttribute("data-view") === this.grid.view));
    }
  }

  /** Accept the open triples in view. */
  async acceptPage() {
    const [first, end] = this.grid.visible;
    const items = [];
    for (let position = first; position < end; position++) {
      const item = await this.queue.at(position);
      if (item?.review === "open") items.push(item);
    }
    await this.decide(items, "accepted");
  }

  /** @param {string} review */
  async decideSelected(review) {
    await this.decide(await this.grid.items(), review);
  }

  /** Decide on triples; what was decided before can be restored. @param {api.Item[]} items @param {string} review */
  async decide(items, review) {
    const changing = items.filter((item) => item.review !== review);
    if (!changing.length) return;
    await attempt(async () => {
      const before = new Map(changing.map((item) => [item.id, item.review]));
      const result = await send(changing, review);
      await this.queue.reload();
      const [first] = changing.filter((item) => item.id === result.changed[0]);
      const text = T.decided(result.changed.length, first?.source ?? "", review, result.conflicts.length);
      message(text, { action: T.undo, run: () => this.restore(result.changed, before) });
    });
  }

  /** @param {string[]} ids @param {Map<string, string>} before */
  async restore(ids, before) {
    await attempt(async () => {
      const decided = new Set(ids);
      const items = [...this.queue.items.values()].filter((item) => decided.has(item.id));
      for (const review of new Set(before.values())) await send(items.filter((item) => before.get(item.id) === review), review);
      await this.queue.reload();
      message(T.undone(0));
    });
  }

  /** Ask for two classes, show what would change, and change it. */
  async changeClass() {
    const ids = (await this.grid.items()).map((item) => item.id);
    await attempt(async () => {
      const { classes } = await api.post("/api/bulk/classes", { ids });
      const chosen = await this._askClasses(classes, ids.length);
      if (!chosen) return;
      const [old, label] = chosen;
      const done = message(B.changing(ids.length), { stays: true });
      const { changed, token } = await api.post("/api/bulk/relabel", { ids, old, new: label }).finally(done);
      await this.queue.reload();
      const text = B.done(changed.length, this.palette.name(old), this.palette.name(label));
      message(text, { action: T.undo, run: () => this._undo(token) });
    });
  }

  /**
   * Ask which class of the selection becomes which: the one of the filter, or the most frequent, is proposed.
   * @param {[number, number, number][]} present label, number of triples, mean share
   * @param {number} of
   * @returns {Promise<[number, number] | null>} null if the person cancels
   */
  async _askClasses(present, of) {
    const from = el("select");
    for (const [label, count] of present) from.append(option(label, B.option(this.palette.name(label), count)));
    const wanted = present.find(([label]) => label === this.palette.filtered(this.queue.where));
    if (wanted) from.value = String(wanted[0]);
    const to = el("select", {}, el("option", { value: "" }, B.choose));
    for (const { label, name } of this.palette.sorted()) to.append(option(label, name));
    to.append(option(this.palette.unlabelled, TEXTS.unlabelled));
    const preview = el("p", { class: "preview", role: "status" });
    const fields = el("div", { class: "fields" }, el("label", {}, B.from, from), el("label", {}, B.to, to));
    const look = () => {
      const [, count, share] = present.find(([label]) => String(label) === from.value) ?? [0, 0, 0];
      preview.textContent = B.preview(count, of, share);
      const apply = /** @type {HTMLButtonElement | null} */ (fields.closest("form")?.querySelector(".main"));
      if (apply) apply.disabled = !from.value || !to.value || to.value === from.value;
    };
    fields.addEventListener("change", look);
    const answer = ask(B.title, [fields, preview], [{ value: "", text: B.cancel }, { value: "yes", text: B.apply, main: true }]);
    look();
    (wanted ? to : from).focus();
    return await answer === "yes" ? [Number(from.value), Number(to.value)] : null;
  }

  /** @param {string} token */
  async _undo(token) {
    await attempt(async () => {
      const { kept } = await api.post("/api/bulk/undo", { token });
      await this.queue.reload();
      message(T.undone(kept.length));
    });
  }
}

/** @param {number} label @param {string} text */
function option(label, text) {
  return el("option", { value: String(label) }, text);
}

/**
 * Decide, a part after the other, so that a person sees how far that is.
 * @param {api.Item[]} items
 * @param {string} review
 * @returns {Promise<{changed: string[], conflicts: string[]}>}
 */
async function send(items, review) {
  /** @type {{changed: string[], conflicts: string[]}} */
  const all = { changed: [], conflicts: [] };
  for (let start = 0; start < items.length; start += TOGETHER) {
    const part = items.slice(start, start + TOGETHER).map(({ id, rev }) => ({ id, rev }));
    const remove = start ? message(T.deciding(start, items.length), { stays: true }) : () => undefined;
    const { changed, conflicts } = await api.post("/api/bulk/decide", { items: part, review }).finally(remove);
    all.changed.push(...changed);
    all.conflicts.push(...conflicts);
  }
  return all;
}

/** Run an action, and show why it failed. @param {() => Promise<void>} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    message(error instanceof Error ? error.message : String(error), { error: true });
  }
}
