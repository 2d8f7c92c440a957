// @ts-check
/** A label map and its picture: the indices are the truth, the canvas shows them in the palette's colours. */

import { Regions } from "./regions.js";
import { hasPattern } from "./palette.js";

/** @typedef {import("./regions.js").Box} Box */
/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {{width: number, height: number, labels: Uint8Array}} Sure */
/** @typedef {{patterns: boolean, isolated: number | null, confidence: Map<number, number> | null}} Look */

export class LabelMap {
  /**
   * @param {{width: number, height: number, labels: Uint8Array}} map
   * @param {Palette} palette
   * @param {Look} look
   */
  constructor({ width, height, labels }, palette, look) {
    this.width = width;
    this.height = height;
    this.labels = labels;
    this.palette = palette;
    this.look = look;
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
    /** How sure the segmenter was, 0 to 255, at a lower resolution; null if that was not stored. @type {Sure | null} */
    this.sure = null;
    /** @type {Regions | null} */
    this._regions = null;
    this._colors = new Uint32Array(256);
    this._marks = new Uint32Array(256);
    this.setLook(look);
  }

  get whole() {
    return { left: 0, top: 0, right: this.width, bottom: this.height };
  }

  get regions() {
    this._regions ??= new Regions(this.labels, this.width, this.height);
    return this._regions;
  }

  /** Show all classes or one, with patterns or without, or confidences instead of classes. @param {Look} look */
  setLook(look) {
    this.look = look;
    for (let label = 0; label < 256; label++) {
      const [r, g, b] = look.confidence ? heat(look.confidence.get(label)) : this.palette.rgb(label);
      const alpha = look.isolated === null || look.isolated === label ? 255 : 0;
      this._colors[label] = pack(r, g, b, alpha);
      const light = 0.3 * r + 0.59 * g + 0.11 * b < 110;
      this._marks[label] = light ? pack(255, 255, 255, alpha) : pack(0, 0, 0, alpha);
    }
    this.paint(this.whole);
  }

  /** Bring a part of the picture up to date. @param {Box} box */
  paint(box) {
    const [width, height] = [box.right - box.left, box.bottom - box.top];
    if (width <= 0 || height <= 0) return;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const { labels, _colors: colors, _marks: marks } = this;
    if (this.look.confidence && this.sure) {
      this._paintSure(this.sure, box, pixels);
      context(this.canvas).putImageData(image, box.left, box.top);
      return;
    }
    for (let y = 0, to = 0; y < height; y++) {
      let from = (box.top + y) * this.width + box.left;
      for (let x = 0; x < width; x++, to++, from++) {
        const label = labels[from];
        const isMarked =
          (this.look.patterns && hasPattern(label, box.left + x, box.top + y)) ||
          (label === this.palette.unlabelled && (box.left + x + box.top + y) % 8 < 2);
        pixels[to] = isMarked ? marks[label] : colors[label];
      }
    }
    context(this.canvas).putImageData(image, box.left, box.top);
  }

  /** Colour pixels by confidence. @param {Sure} sure @param {Box} box @param {Uint32Array} pixels */
  _paintSure(sure, box, pixels) {
    const { isolated } = this.look;
    const colors = Uint32Array.from({ length: 256 }, (_, value) => pack(...heat(value / 255), 255));
    for (let y = box.top, to = 0; y < box.bottom; y++) {
      const row = Math.floor((y * sure.height) / this.height) * sure.width;
      for (let x = box.left; x < box.right; x++, to++) {
        const isShown = isolated === null || this.labels[y * this.width + x] === isolated;
        pixels[to] = isShown ? colors[sure.labels[row + Math.floor((x * sure.width) / this.width)]] : 0;
      }
    }
  }

  /** Show other confidences: a person is sure of what is painted. @param {Sure | null} sure */
  setSure(sure) {
    this.sure = sure;
    if (this.look.confidence) this.paint(this.whole);
  }

  /** How sure the segmenter was of a pixel, 0 to 1; undefined if that was not stored. @param {number} pixel */
  confidence(pixel) {
    if (!this.sure) return undefined;
    const [x, y] = [pixel % this.width, Math.floor(pixel / this.width)];
    const { width, height, labels } = this.sure;
    return labels[Math.floor((y * height) / this.height) * width + Math.floor((x * width) / this.width)] / 255;
  }

  /** The labels have changed within a box. @param {Box} box */
  touch(box) {
    this._regions = null;
    this.paint(box);
  }

  /** Give runs of pixels labels. @param {import("./api.js").Stroke[]} strokes */
  apply(strokes) {
    for (const { label, runs } of strokes) {
      for (let i = 0; i < runs.length; i += 2) this.labels.fill(label, runs[i], runs[i] + runs[i + 1]);
    }
    this.touch(this.whole);
  }

  /** Number of pixels by label. */
  counts() {
    const counts = new Uint32Array(256);
    for (const label of this.labels) counts[label]++;
    return counts;
  }
}

/** @param {HTMLCanvasElement} canvas */
export function context(canvas) {
  const drawing = canvas.getContext("2d");
  if (!drawing) throw new Error("no canvas");
  return drawing;
}

/**
 * A pixel of an ImageData as one number.
 * @param {number} r
 * @param {number} g
 * @param {number} b
 * @param {number} a
 */
function pack(r, g, b, a) {
  return ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** Dark violet for low, yellow for high confidence. @param {number | undefined} confidence @returns {[number, number, number]} */
function heat(confidence) {
  if (confidence === undefined) return [0, 0, 0];
  const part = Math.max(0, Math.min(1, (confidence - 0.4) / 0.6)); // few classes have a lower mean
  return [Math.round(68 + 185 * part), Math.round(1 + 230 * part), Math.round(84 - 47 * part)];
}
