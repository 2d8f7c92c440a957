// @ts-check
/** All triples as thumbnails. Only those in view exist as elements, so that thousands scroll as fast as ten. */

import * as api from "./api.js";
import { Bulk } from "./bulk.js";
import { badges, el, message } from "./dom.js";
import { TEXTS } from "./texts.js";

const CELL = 224;
const FOOT = 58;
const GAP = 10;

export class Grid {
  /**
   * @param {HTMLElement} root
   * @param {import("./palette.js").Palette} palette
   * @param {import("./queue.js").Queue} queue
   * @param {number} limit triples that may be selected
   * @param {(position: number) => void} open
   */
  constructor(root, palette, queue, limit, open) {
    this.limit = limit;
    this.root = root;
    this.palette = palette;
    this.queue = queue;
    this.open = open;
    this.cursor = 0;
    /** Whether the person put the cursor where it is: only then, letters decide on the triple there. */
    this.isMarked = false;
    this.view = "overlay";
    /** Positions. @type {Set<number>} */
    this.selected = new Set();
    this.anchor = 0;
    /** @type {Map<number, {cell: HTMLElement, item: api.Item | undefined}>} */
    this.cells = new Map();
    this.space = el("div", { class: "space" });
    this.empty = el("p", { class: "empty" }, TEXTS.grid.ranking);
    this.scroller = el("div", { class: "scroller", tabIndex: 0, role: "listbox", "aria-multiselectable": "true" }, this.space, this.empty);
    this.bulk = new Bulk(palette, queue, this);
    root.append(this.bulk.root, this.scroller);
    this.scroller.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    queue.addEventListener("items", () => this.draw());
    queue.addEventListener("open", () => {
      this.empty.textContent = queue.error || TEXTS.grid.empty;
      this.empty.classList.toggle("error", queue.error !== "");
      this.top();
    });
    queue.addEventListener("sorted", () => this.top());
    queue.addEventListener("waiting", () => {
      if (queue.waiting && !queue.total) this.empty.textContent = TEXTS.waiting(queue.waiting, 0);
    });
  }

  get columns() {
    return Math.max(1, Math.floor((this.scroller.clientWidth - GAP) / (CELL + GAP)));
  }

  get height() {
    return CELL + FOOT + GAP;
  }

  /** Positions in view: the first, and the one after the last. */
  get visible() {
    const [first, last] = [this.scroller.scrollTop, this.scroller.scrollTop + this.scroller.clientHeight];
    const end = Math.min(this.queue.total, Math.ceil(last / this.height) * this.columns);
    return [Math.floor(first / this.height) * this.columns, end];
  }

  /** Show what is in view. */
  draw() {
    if (this.root.hidden) return;
    const columns = this.columns;
    this.space.style.height = `${Math.ceil(this.queue.total / columns) * this.height + GAP}px`;
    this.empty.hidden = this.queue.total > 0;
    const [first, end] = this.visible;
    const [from, to] = [Math.max(0, first - columns), Math.min(this.queue.total, end + columns)];
    for (const [position, { cell }] of this.cells) {
      if (position >= from && position < to) continue;
      cell.remove();
      this.cells.delete(position);
    }
    const left = Math.max(GAP, (this.scroller.clientWidth - columns * (CELL + GAP) + GAP) / 2);
    for (let position = from; position < to; position++) {
      const cell = this._cell(position);
      const [x, y] = [left + (position % columns) * (CELL + GAP), GAP + Math.floor(position / columns) * this.height];
      cell.style.transform = `translate(${x}px, ${y}px)`;
      cell.classList.toggle("cursor", position === this.cursor);
      cell.classList.toggle("marked", this.isMarked);
      cell.setAttribute("aria-selected", String(this.selected.has(position)));
    }
    this.bulk.show();
  }

  /** @param {number} position */
  _cell(position) {
    const item = this.queue.peek(position);
    const known = this.cells.get(position);
    if (known && known.item === item) return known.cell;
    known?.cell.remove();
    const cell = item ? this._filled(position, item) : el("div", { class: "cell loading" });
    this.cells.set(position, { cell, item });
    this.space.append(cell);
    return cell;
  }

  /**
   * @param {number} position
   * @param {api.Item} item
   */
  _filled(position, item) {
    const photo = el("img", { src: api.thumbnailUrl("photo", item), alt: item.text || item.source, decoding: "async", draggable: false });
    const map = el("img", { class: "map", src: api.thumbnailUrl("map", item), alt: "", decoding: "async", draggable: false });
    const review = el("span", { class: `review ${item.review}` }, TEXTS.reviews[/** @type {"open"} */ (item.review)]);
    const why = item.reasons?.join("; ") ?? "";
    return el(
      "div",
      {
        class: `cell ${item.review}`, role: "option", "data-id": item.id, title: [item.source, item.text, why].filter(Boolean).join("\n"),
        onclick: (/** @type {MouseEvent} */ event) => this._click(position, event), ondblclick: () => this.open(position),
      },
      el("div", { class: "pictures" }, photo, map, badges(item)),
      el("span", { class: "tick", title: TEXTS.grid.tick, onclick: (/** @type {Event} */ event) => this._tick(position, event) }, "✓"),
      el("div", { class: "foot" },
        el("div", { class: "line" }, review, el("span", { class: "source" }, item.source)),
        el("div", { class: "line text", title: why || item.text }, why || item.text)),
    );
  }

  /** @param {number} position @param {MouseEvent} event */
  _click(position, event) {
    if (event.shiftKey) this.range(this.anchor, position);
    else if (event.ctrlKey || event.metaKey) this.toggle(position);
    else if (this.selected.size) this.clear();
    if (!event.shiftKey) this.anchor = position;
    this.cursor = position;
    this.isMarked = true;
    this.draw();
  }

  /** Select or unselect without a key, as a finger has to. @param {number} position @param {Event} event */
  _tick(position, event) {
    event.stopPropagation();
    this.anchor = this.cursor = position;
    this.isMarked = true;
    this.toggle(position);
  }

  /** @param {number} position */
  toggle(position) {
    if (!this.selected.delete(position)) this.selected.add(position);
    this.draw();
  }

  /** Select or unselect the triple that the person went to. */
  mark() {
    if (!this.isMarked) return void message(TEXTS.grid.unmarked);
    this.toggle(this.cursor);
  }

  /** @param {number} from @param {number} to */
  range(from, to) {
    const [first, last] = [Math.min(from, to), Math.max(from, to)];
    for (let position = first; position <= last && this.selected.size < this.limit; position++) this.selected.add(position);
    if (!this.selected.has(last)) message(TEXTS.grid.limit(this.limit));
    this.draw();
  }

  /** Begin again: positions mean other triples now. */
  top() {
    this.cursor = 0;
    this.isMarked = false;
    this.scroller.scrollTop = 0;
    this.clear();
  }

  clear() {
    this.selected.clear();
    this.draw();
  }

  all() {
    if (this.queue.total) this.range(0, this.queue.total - 1);
  }

  /** Move the cursor. @param {number} columns @param {number} rows @param {boolean} extend */
  move(columns, rows, extend = false) {
    if (!this.queue.total) return;
    const before = this.cursor;
    this.isMarked = true;
    this.go(this.cursor + columns + rows * this.columns);
    if (extend) this.range(before, this.cursor);
  }

  /** Put the cursor on a triple, and scroll to it. @param {number} position */
  go(position) {
    this.cursor = Math.max(0, Math.min(this.queue.total - 1, position));
    const top = Math.floor(this.cursor / this.columns) * this.height;
    const below = top + this.height + GAP - this.scroller.clientHeight;
    this.scroller.scrollTop = Math.max(below, Math.min(this.scroller.scrollTop, top));
    this.draw();
  }

  /** Decide on the selection, or on the triple that the person went to. @param {string} review */
  async decide(review) {
    if (!this.selected.size && !this.isMarked) return void message(TEXTS.grid.unmarked);
    const item = await this.queue.at(this.cursor);
    await this.bulk.decide(this.selected.size ? await this.items() : item ? [item] : [], review);
  }

  /** Show photos, maps or both. @param {string} view */
  look(view) {
    this.view = view;
    this.scroller.dataset.view = view;
    this.bulk.show();
  }

  /** Items of the selection; those out of view are read. */
  async items() {
    const positions = [...this.selected].sort((a, b) => a - b);
    const items = await Promise.all(positions.map((position) => this.queue.at(position)));
    return items.filter((item) => item !== undefined);
  }
}
