// @ts-check
/** The queue of triples, read from the server in pages as they come into view. */

import * as api from "./api.js";

/** @typedef {import("./api.js").Item} Item */
/** @typedef {import("./api.js").Page} Page */

const PAGE = 100;

/** @type {Page} */
const NOTHING = { total: 0, start: 0, counts: {}, items: [], waiting: null };

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
    /** @type {Record<string, number>} */
    this.counts = {};
    /** @type {Map<number, Item>} */
    this.items = new Map();
    /** @type {Map<number, Promise<void>>} */
    this._pages = new Map();
    /** How far the ranking is that is waited for. @type {api.Waiting | null} */
    this.waiting = null;
    /** The first page of the ranking that is ready to replace the order of the dataset. @type {Page | null} */
    this.ranked = null;
    this.isUnranked = false;
    this._turn = 0;
  }

  /**
   * Rank again with other conditions; until that is done, what is shown stays. A large dataset is shown in its own order
   * at first: the event "ranked" says when `sort` may replace that. Where ranking fails, the queue is empty and has an
   * error: what other conditions have chosen must not be taken for their results.
   * @param {string} where
   * @param {string} order
   * @param {boolean} fresh
   */
  async open(where, order, fresh = false) {
    const turn = ++this._turn;
    const isFirst = !this.total;
    this.error = "";
    const page = await this._wait(turn, where, order, fresh, isFirst).catch((error) => {
      return turn === this._turn ? this._failed(error) : null; // null: other conditions were entered meanwhile
    });
    if (!page) return;
    this.where = where;
    this.order = order;
    this._show(page);
    if (this.isUnranked) this._follow(turn);
  }

  /** @param {Page} page */
  _show(page) {
    this.ranked = null;
    this.isUnranked = page.waiting !== null;
    this._replace(page);
    this.dispatchEvent(new Event("open"));
  }

  /** @param {unknown} error @returns {Page} what is shown instead */
  _failed(error) {
    this.error = error instanceof Error ? error.message : String(error);
    this._report(null);
    return NOTHING;
  }

  /** Go on with what is shown, whatever is waited for. */
  stay() {
    const turn = ++this._turn;
    this._report(null);
    if (this.isUnranked && !this.ranked) this._follow(turn);
  }

  /** Show the ranking, now that it is done. */
  sort() {
    const page = this.ranked;
    if (!page) return;
    this.ranked = null;
    this.isUnranked = false;
    this._replace(page);
    this.dispatchEvent(new Event("sorted"));
  }

  /** Tell when the ranking is done. @param {number} turn */
  _follow(turn) {
    this._wait(turn, this.where, this.order, false, false).then((page) => {
      if (!page) return;
      this.counts = page.counts;
      if (this.order === "source") return void this.dispatchEvent(new Event("items")); // that is the dataset's order
      this.ranked = page;
      this.dispatchEvent(new Event("ranked"));
    }).catch((error) => {
      if (turn !== this._turn) return;
      if (api.connection.isUp) this._show(this._failed(error)); // the manifest is damaged further down
      else this._report(null);
    });
  }

  /**
   * Wait for the first page of a ranking, which the server answers within a second with how far it is.
   * @param {number} turn
   * @param {string} where
   * @param {string} order
   * @param {boolean} fresh
   * @param {boolean} takesUnranked whether items in the order of the dataset will do
   * @returns {Promise<Page | null>} null if another ranking was wanted meanwhile
   */
  async _wait(turn, where, order, fresh, takesUnranked) {
    let page = await this._read(where, order, 0, fresh);
    while (turn === this._turn && page.waiting && !(takesUnranked && page.items.length)) {
      this._report(page.waiting);
      if (this.isUnranked && page.total > this.total) this._take(page); // only the first ones were known before
      page = await this._read(where, order, 0, false);
    }
    if (turn !== this._turn) return null;
    this._report(page.waiting);
    return page;
  }

  /** @param {api.Waiting | null} waiting */
  _report(waiting) {
    this.waiting = waiting;
    this.dispatchEvent(new Event("waiting"));
  }

  /** @param {Page} page */
  _replace(page) {
    this.items = new Map();
    this._pages = new Map([[0, Promise.resolve()]]);
    this._take(page);
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
      const pages = this._pages; // an answer that is late must not get into another order
      const read = this._read(this.where, this.order, page * PAGE, false, this.isUnranked);
      reading = read.then((result) => { if (pages === this._pages) this._take(result); });
      this._pages.set(page, reading);
      reading.catch(() => pages.delete(page));
    }
    return reading;
  }

  /**
   * @param {string} where
   * @param {string} order
   * @param {number} start
   * @param {boolean} fresh
   * @param {boolean} unranked
   * @returns {Promise<Page>}
   */
  _read(where, order, start, fresh, unranked = false) {
    const query = new URLSearchParams({ where, order, start: String(start), limit: String(PAGE) });
    if (fresh) query.set("fresh", "1");
    if (unranked) query.set("unranked", "1");
    return api.get(`/api/items?${query}`);
  }

  /** @param {Page} page */
  _take(page) {
    this.total = page.total;
    this.counts = page.counts;
    for (const [i, item] of page.items.entries()) this.items.set(page.start + i, item);
    this.dispatchEvent(new Event("items"));
  }
}
