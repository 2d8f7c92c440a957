// @ts-check
/** Areas of the photo whose borders follow its edges: a brush that fills whole areas snaps to the edges. */

import { request } from "./api.js";

/** @typedef {import("./regions.js").Box} Box */
/** @typedef {import("./labelmap.js").LabelMap} LabelMap */

export class Areas {
  constructor() {
    /** @type {Uint16Array | null} number of the area of each pixel, from 1 */
    this.numbers = null;
    /** @type {(Box | undefined)[]} not all numbers occur */
    this.boxes = [];
    /** @type {Uint32Array} number of pixels of each area */
    this.sizes = new Uint32Array();
    this.id = "";
  }

  /**
   * Load the areas of a triple.
   * @param {import("./api.js").Item} item
   */
  async load(item) {
    if (this.id === item.id) return;
    this.id = item.id;
    this.numbers = null;
    const response = await request(`/areas/${item.id}?v=${item.photo}`);
    const numbers = new Uint16Array(await response.arrayBuffer());
    if (this.id !== item.id) return;
    this.boxes = boxesOf(numbers, item.width);
    this.sizes = new Uint32Array(this.boxes.length);
    for (const number of numbers) this.sizes[number]++;
    this.numbers = numbers;
  }

  /** Report whether the areas of a map's photo are loaded. @param {LabelMap} map */
  fits(map) {
    return this.numbers?.length === map.labels.length;
  }

  /**
   * Fill the areas under a brush: those of which it covers the larger part, and the one at its centre.
   * @param {LabelMap} map
   * @param {[number, number]} place
   * @param {number} size
   * @param {number} label
   * @returns {Box}
   */
  fill(map, [x, y], size, label) {
    const numbers = this.numbers ?? new Uint16Array();
    const changed = { left: Infinity, top: Infinity, right: 0, bottom: 0 };
    const radius = size / 2;
    const centre = numbers[clamp(y, map.height) * map.width + clamp(x, map.width)];
    for (const [number, box] of this.boxes.entries()) {
      if (!box || box.right < x - radius || box.left > x + radius || box.bottom < y - radius || box.top > y + radius) continue;
      if (number !== centre && this._covered(map, number, box, [x, y, radius]) < this.sizes[number] / 2) continue;
      for (let row = box.top; row < box.bottom; row++) {
        for (let at = row * map.width + box.left; at < row * map.width + box.right; at++) {
          if (numbers[at] === number) map.labels[at] = label;
        }
      }
      changed.left = Math.min(changed.left, box.left);
      changed.top = Math.min(changed.top, box.top);
      changed.right = Math.max(changed.right, box.right);
      changed.bottom = Math.max(changed.bottom, box.bottom);
    }
    return changed;
  }

  /**
   * Return how many pixels of an area a disc covers.
   * @param {LabelMap} map
   * @param {number} number
   * @param {Box} box of the area
   * @param {[number, number, number]} disc x, y and radius
   */
  _covered(map, number, { left, top, right, bottom }, [x, y, radius]) {
    const numbers = this.numbers ?? new Uint16Array();
    let covered = 0;
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        if (numbers[row * map.width + column] === number && Math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius) covered++;
      }
    }
    return covered;
  }
}

/**
 * @param {number} value
 * @param {number} length
 */
function clamp(value, length) {
  return Math.max(0, Math.min(length - 1, Math.floor(value)));
}

/**
 * @param {Uint16Array} numbers
 * @param {number} width
 */
function boxesOf(numbers, width) {
  /** @type {(Box | undefined)[]} */
  const boxes = [];
  for (let at = 0; at < numbers.length; at++) {
    const [x, y] = [at % width, Math.floor(at / width)];
    const box = boxes[numbers[at]];
    if (!box) {
      boxes[numbers[at]] = { left: x, top: y, right: x + 1, bottom: y + 1 };
      continue;
    }
    if (x < box.left) box.left = x;
    if (x >= box.right) box.right = x + 1;
    box.bottom = y + 1;
  }
  return boxes;
}
