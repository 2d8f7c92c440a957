// @ts-check
/** Changes of many triples: decisions, and one class for another, with a preview and one undo. */

import * as api from "./api.js";
import { ask, el, message } from "./dom.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.grid;
const B = TEXTS.bulk;

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
      const items = [...this.queue.items.values()].filter((item) => ids.includes(item.id));
      for (const review of new Set(before.values())) await send(items.filter((item) => before.get(item.id) === review), review);
      await this.queue.reload();
      message(T.undone(0));
    });
  }

  /** Ask for two classes, show what would change, and change it. */
  async changeClass() {
    const items = await this.grid.items();
    const ids = items.map((item) => item.id);
    const [from, to] = [this._classes(), this._classes()];
    const preview = el("p", { class: "preview", role: "status" });
    const look = async () => {
      const body = { ids, old: Number(from.value), new: Number(to.value) };
      const { affected, of } = await api.post("/api/bulk/preview", body);
      const total = affected.reduce((/** @type {number} */ sum, /** @type {[string, number]} */ pair) => sum + pair[1], 0);
      preview.textContent = B.preview(affected.length, of, total / Math.max(1, affected.length));
    };
    from.addEventListener("change", () => attempt(look));
    await attempt(look);
    const fields = el("div", { class: "fields" }, el("label", {}, B.from, from), el("label", {}, B.to, to));
    const answer = await ask(B.title, [fields, preview], [{ value: "", text: B.cancel }, { value: "yes", text: B.apply, main: true }]);
    if (answer !== "yes" || from.value === to.value) return;
    await attempt(async () => {
      const { changed, token } = await api.post("/api/bulk/relabel", { ids, old: Number(from.value), new: Number(to.value) });
      await this.queue.reload();
      const [a, b] = [this.palette.name(Number(from.value)), this.palette.name(Number(to.value))];
      message(B.done(changed.length, a, b), { action: T.undo, run: () => this._undo(token) });
    });
  }

  /** @param {string} token */
  async _undo(token) {
    await attempt(async () => {
      const { kept } = await api.post("/api/bulk/undo", { token });
      await this.queue.reload();
      message(T.undone(kept.length));
    });
  }

  _classes() {
    const names = this.palette.names.map((name, label) => ({ name, label })).sort((a, b) => a.name.localeCompare(b.name));
    const select = el("select");
    for (const { name, label } of names) select.append(el("option", { value: String(label) }, name));
    select.append(el("option", { value: String(this.palette.unlabelled) }, TEXTS.unlabelled));
    return select;
  }
}

/** @param {api.Item[]} items @param {string} review */
function send(items, review) {
  return api.post("/api/bulk/decide", { items: items.map(({ id, rev }) => ({ id, rev })), review });
}

/** Run an action, and show why it failed. @param {() => Promise<void>} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    message(error instanceof Error ? error.message : String(error), { error: true });
  }
}
