// @ts-check
/**
 * Runs and regions of a label map. A run is a stretch of equal labels in one row; a region is a 4-connected component
 * of runs with one label. Everything is integers: no pixel is ever half selected.
 * @typedef {{left: number, top: number, right: number, bottom: number}} Box right and bottom are exclusive
 * @typedef {{label: number, runs: number[], count: number, box: Box, spot: [number, number]}} Region
 *   runs: start, length, start, length, ... in row-major order; spot: a pixel well inside
 */

/**
 * Return the runs of pixels that differ between two label maps.
 * @param {Uint8Array} before
 * @param {Uint8Array} after
 * @param {number} width
 * @param {Box} box where they may differ
 * @returns {number[]} start, length, ...
 */
export function changed(before, after, width, box) {
  const runs = [];
  for (let y = box.top; y < box.bottom; y++) {
    const end = y * width + box.right;
    for (let at = y * width + box.left; at < end; at++) {
      if (before[at] === after[at]) continue;
      const start = at;
      while (at < end && before[at] !== after[at]) at++;
      runs.push(start, at - start);
    }
  }
  return runs;
}

/**
 * Return the box around runs.
 * @param {number[]} runs
 * @param {number} width
 * @returns {Box}
 */
export function boxOf(runs, width) {
  const box = { left: Infinity, top: Infinity, right: 0, bottom: 0 };
  for (let i = 0; i < runs.length; i += 2) {
    const y = Math.floor(runs[i] / width);
    const x = runs[i] % width;
    const end = x + runs[i + 1];
    box.left = Math.min(box.left, end > width ? 0 : x);
    box.right = Math.max(box.right, Math.min(end, width));
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y + Math.ceil(end / width));
  }
  return box;
}

/** All regions of a label map. */
export class Regions {
  /**
   * @param {Uint8Array} labels
   * @param {number} width
   * @param {number} height
   */
  constructor(labels, width, height) {
    this.width = width;
    /** @type {number[]} */
    this.starts = [];
    /** @type {number[]} */
    this.labels = [];
    /** @type {number[]} */
    this.rows = [];
    this.size = width * height;
    for (let y = 0; y < height; y++) {
      this.rows.push(this.starts.length);
      const end = (y + 1) * width;
      for (let at = y * width; at < end; ) {
        const label = labels[at];
        this.starts.push(at);
        this.labels.push(label);
        while (at < end && labels[at] === label) at++;
      }
    }
    this.rows.push(this.starts.length);
    this.parents = Int32Array.from(this.starts.keys());
    for (let y = 1; y < height; y++) this._join(y);
    /** @type {Map<number, number[]> | null} */
    this._members = null;
    /** @type {Region[] | null} */
    this._list = null;
  }

  /** @param {number} run */
  _end(run) {
    return run + 1 < this.starts.length ? this.starts[run + 1] : this.size;
  }

  /** @param {number} run */
  _root(run) {
    while (this.parents[run] !== run) {
      this.parents[run] = this.parents[this.parents[run]];
      run = this.parents[run];
    }
    return run;
  }

  /** Join the runs of a row with those above. @param {number} y */
  _join(y) {
    let above = this.rows[y - 1];
    let below = this.rows[y];
    while (above < this.rows[y] && below < this.rows[y + 1]) {
      if (this.labels[above] === this.labels[below]) {
        const [a, b] = [this._root(above), this._root(below)];
        if (a < b) this.parents[b] = a;
        else this.parents[a] = b;
      }
      const [endAbove, endBelow] = [this._end(above) + this.width, this._end(below)];
      if (endAbove <= endBelow) above++;
      if (endBelow <= endAbove) below++;
    }
  }

  _all() {
    if (!this._members) {
      this._members = new Map();
      for (let run = 0; run < this.starts.length; run++) {
        const root = this._root(run);
        const runs = this._members.get(root);
        if (runs) runs.push(run);
        else this._members.set(root, [run]);
      }
    }
    return this._members;
  }

  /** The regions, largest first. @returns {Region[]} */
  list() {
    if (!this._list) {
      const regions = [...this._all().values()].map((runs) => this._region(runs));
      this._list = regions.sort((a, b) => b.count - a.count || a.runs[0] - b.runs[0]);
    }
    return this._list;
  }

  /** The region of a pixel. @param {number} pixel */
  at(pixel) {
    let [low, high] = [0, this.starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= pixel) low = middle;
      else high = middle - 1;
    }
    return this._region(this._all().get(this._root(low)) ?? []);
  }

  /** Everything of one class as one region. @param {number} label */
  ofLabel(label) {
    const runs = [];
    for (let run = 0; run < this.starts.length; run++) if (this.labels[run] === label) runs.push(run);
    return this._region(runs);
  }

  /**
   * @param {number[]} members runs by number, in order
   * @returns {Region}
   */
  _region(members) {
    /** @type {number[]} */
    const runs = [];
    let count = 0;
    for (const run of members) {
      const length = this._end(run) - this.starts[run];
      runs.push(this.starts[run], length);
      count += length;
    }
    const box = boxOf(runs, this.width);
    return { label: this.labels[members[0]] ?? -1, runs, count, box, spot: this._spot(runs, box) };
  }

  /**
   * Return a pixel inside: the middle of a long run near the middle row.
   * @param {number[]} runs
   * @param {Box} box
   * @returns {[number, number]}
   */
  _spot(runs, box) {
    let [best, spot] = [-1, /** @type {[number, number]} */ ([0, 0])];
    const [middle, height] = [(box.top + box.bottom - 1) / 2, box.bottom - box.top];
    for (let i = 0; i < runs.length; i += 2) {
      const y = Math.floor(runs[i] / this.width);
      const score = runs[i + 1] * (1 - Math.abs(y - middle) / height);
      if (score > best) [best, spot] = [score, [(runs[i] % this.width) + (runs[i + 1] >> 1), y]];
    }
    return spot;
  }
}
