// @ts-check
/** The queue of triples, read from the server in pages as they come into view. */

import * as api from "./api.js";

/** @typedef {import("./api.js").Item} Item */

const PAGE = 100;

export class Queue extends EventTarget {
  /**
   * @param {string} where
   * @param {string} order
   */
  constructor(where, order) {
    super();
    this.where = where;
    this.order = order;
    this.total = 0;
    /** Why nothing is shown; "" if the conditions are understood. */
    this.error = "";
    this._opened = 0;
    /** @type {Record<string, number>} */
    this.counts = {};
    /** @type {Map<number, Item>} */
    this.items = new Map();
    /** @type {Map<number, Promise<void>>} */
    this._pages = new Map();
  }

  /**
   * Rank again with other conditions. Where that fails, the queue is empty and has an error: what other conditions have
   * chosen must not be taken for their results.
   * @param {string} where
   * @param {string} order
   * @param {boolean} fresh
   */
  async open(where, order, fresh = false) {
    const number = ++this._opened;
    let page = { total: 0, start: 0, counts: {}, items: /** @type {Item[]} */ ([]) };
    let reason = "";
    try {
      page = await this._read(where, order, 0, fresh);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    if (number !== this._opened) return; // other conditions were entered meanwhile
    this.error = reason;
    this.where = where;
    this.order = order;
    this.items = new Map();
    this._pages = new Map([[0, Promise.resolve()]]);
    this._take(page);
    this.dispatchEvent(new Event("open"));
  }

  /** Return an item; one that is not here yet arrives with the event "items". @param {number} position */
  peek(position) {
    const item = this.items.get(position);
    if (!item && position >= 0 && position < this.total) void this._page(position);
    return item;
  }

  /** @param {number} position @returns {Promise<Item | undefined>} */
  async at(position) {
    if (position < 0 || position >= this.total) return undefined;
    if (!this.items.has(position)) await this._page(position);
    return this.items.get(position);
  }

  /** Bring an item up to date after a change. @param {Item} details */
  update(details) {
    for (const [position, item] of this.items) {
      if (item.id !== details.id) continue;
      if (item.review !== details.review) {
        this.counts[item.review] = (this.counts[item.review] ?? 0) - 1;
        this.counts[details.review] = (this.counts[details.review] ?? 0) + 1;
      }
      const { doubt, reasons } = item;
      this.items.set(position, { ...details, doubt, reasons });
    }
    this.dispatchEvent(new Event("items"));
  }

  /** Read items again that were changed in bulk. */
  async reload() {
    const pages = [...this._pages.keys()];
    this._pages = new Map();
    await Promise.all(pages.map((page) => this._page(page * PAGE)));
  }

  /** @param {number} position */
  _page(position) {
    const page = Math.floor(position / PAGE);
    let reading = this._pages.get(page);
    if (!reading) {
      reading = this._read(this.where, this.order, page * PAGE, false).then((result) => this._take(result));
      this._pages.set(page, reading);
      reading.catch(() => this._pages.delete(page));
    }
    return reading;
  }

  /** @param {string} where @param {string} order @param {number} start @param {boolean} fresh */
  _read(where, order, start, fresh) {
    const query = new URLSearchParams({ where, order, start: String(start), limit: String(PAGE) });
    if (fresh) query.set("fresh", "1");
    return api.get(`/api/items?${query}`);
  }

  /** @param {{total: number, start: number, counts: Record<string, number>, items: Item[]}} page */
  _take(page) {
    this.total = page.total;
    this.counts = page.counts;
    for (const [i, item] of page.items.entries()) this.items.set(page.start + i, item);
    this.dispatchEvent(new Event("items"));
  }
}
