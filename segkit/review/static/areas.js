// @ts-check
/** Areas of the photo whose borders follow its edges: a brush that fills whole areas snaps to the edges. */

import { request } from "./api.js";

/** @typedef {import("./regions.js").Box} Box */
/** @typedef {import("./labelmap.js").LabelMap} LabelMap */

export class Areas {
  constructor() {
    /** @type {Uint16Array | null} number of the area of each pixel, from 1 */
    this.numbers = null;
    /** @type {Box[]} */
    this.boxes = [];
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
    this.numbers = numbers;
  }

  /** Report whether the areas of a map's photo are loaded. @param {LabelMap} map */
  fits(map) {
    return this.numbers?.length === map.labels.length;
  }

  /**
   * Fill the areas under a brush: those whose middle part it covers, and the one at its centre.
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
      if (!number || box.right < x - radius || box.left > x + radius || box.bottom < y - radius || box.top > y + radius) continue;
      const middle = Math.hypot((box.left + box.right) / 2 - x, (box.top + box.bottom) / 2 - y);
      if (number !== centre && middle > radius) continue;
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
  /** @type {Box[]} */
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
  boxes[0] = { left: Infinity, top: Infinity, right: -1, bottom: -1 };
  return boxes;
}
