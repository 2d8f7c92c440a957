// @ts-check
/** The canvas: photo and map at any zoom, without smoothing of the map, and what is selected. */

import { context } from "./labelmap.js";

/** @typedef {import("./labelmap.js").LabelMap} LabelMap */
/** @typedef {import("./regions.js").Region} Region */

export class Viewer {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {LabelMap | null} */
    this.map = null;
    /** @type {HTMLImageElement | null} */
    this.photo = null;
    this.opacity = 0.5;
    this.photoAlone = false;
    this.mapHidden = false;
    this.names = false;
    /** Zoom relative to the size that fits, and the middle relative to the map; both stay between triples. */
    this.zoom = 1;
    this.middle = [0.5, 0.5];
    /** @type {Region | null} */
    this.selection = null;
    /** @type {{points: [number, number][], cursor: [number, number] | null} | null} an outline being drawn */
    this.outline = null;
    /** @type {[number, number, boolean][]} clicks inside and outside of a thing */
    this.points = [];
    /** @type {{x: number, y: number, size: number} | null} the brush in map pixels */
    this.brush = null;
    this._queued = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Screen pixels, of the canvas, for a map pixel. */
  get scale() {
    if (!this.map) return 1;
    const fit = Math.min(this.canvas.clientWidth / this.map.width, this.canvas.clientHeight / this.map.height);
    return Math.max(1e-3, fit * 0.98 * this.zoom);
  }

  /** Where the map's corner is on the canvas. @returns {[number, number]} */
  get corner() {
    const [width, height] = this.map ? [this.map.width, this.map.height] : [1, 1];
    return [
      this.canvas.clientWidth / 2 - this.middle[0] * width * this.scale,
      this.canvas.clientHeight / 2 - this.middle[1] * height * this.scale,
    ];
  }

  /** Return the place on the map of a point on the screen. @param {{clientX: number, clientY: number}} event @returns {[number, number]} */
  place(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const [left, top] = this.corner;
    return [(event.clientX - bounds.left - left) / this.scale, (event.clientY - bounds.top - top) / this.scale];
  }

  /** Return the number of the pixel at a place; -1 outside. @param {[number, number]} place */
  pixel([x, y]) {
    if (!this.map || x < 0 || y < 0 || x >= this.map.width || y >= this.map.height) return -1;
    return Math.floor(y) * this.map.width + Math.floor(x);
  }

  /**
   * Zoom around a point on the screen.
   * @param {number} factor
   * @param {{clientX: number, clientY: number}} [event] the middle of the canvas by default
   */
  zoomBy(factor, event) {
    const bounds = this.canvas.getBoundingClientRect();
    const at = event ?? { clientX: bounds.left + bounds.width / 2, clientY: bounds.top + bounds.height / 2 };
    const before = this.place(at);
    this.zoom = Math.max(0.25, Math.min(64, this.zoom * factor));
    const after = this.place(at);
    this.panBy((after[0] - before[0]) * this.scale, (after[1] - before[1]) * this.scale);
  }

  /** Move the picture by pixels of the screen. @param {number} x @param {number} y */
  panBy(x, y) {
    if (!this.map) return;
    const clamp = (/** @type {number} */ value) => Math.max(0, Math.min(1, value));
    this.middle = [
      clamp(this.middle[0] - x / this.scale / this.map.width),
      clamp(this.middle[1] - y / this.scale / this.map.height),
    ];
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.middle = [0.5, 0.5];
    this.draw();
  }

  /** Draw with the next frame of the screen. */
  draw() {
    if (this._queued) return;
    this._queued = true;
    requestAnimationFrame(() => {
      this._queued = false;
      this._draw();
    });
  }

  _draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth * ratio, this.canvas.clientHeight * ratio].map(Math.round);
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const drawing = context(this.canvas);
    drawing.setTransform(1, 0, 0, 1, 0, 0);
    drawing.clearRect(0, 0, width, height);
    if (!this.map) return;
    const { map, scale } = this;
    const [left, top] = this.corner;
    drawing.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * left, ratio * top);
    if (this.photo) {
      drawing.imageSmoothingEnabled = scale < 2;
      drawing.drawImage(this.photo, 0, 0, map.width, map.height);
    }
    if (this.photoAlone) return;
    drawing.imageSmoothingEnabled = false; // colours between two classes would be other classes
    drawing.globalAlpha = this.mapHidden ? 0 : this.photo ? this.opacity : 1;
    drawing.drawImage(map.canvas, 0, 0);
    drawing.globalAlpha = 1;
    if (this.selection) this._drawSelection(drawing, this.selection);
    for (const point of this.points) this._drawPoint(drawing, point);
    if (this.outline) this._drawOutline(drawing);
    if (this.brush) this._drawBrush(drawing, this.brush);
    if (this.names && !this.mapHidden) this._drawNames(drawing, map);
  }

  /**
   * @param {CanvasRenderingContext2D} drawing
   * @param {Region} selection
   */
  _drawSelection(drawing, selection) {
    const width = this.map?.width ?? 1;
    const path = edges(selection.runs, width);
    for (const [color, thickness] of [["#000", 4], ["#fff", 2]]) {
      drawing.strokeStyle = String(color);
      drawing.lineWidth = Number(thickness) / this.scale;
      drawing.stroke(path);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} drawing
   * @param {[number, number, boolean]} point
   */
  _drawPoint(drawing, [x, y, isInside]) {
    drawing.font = `700 ${20 / this.scale}px system-ui, sans-serif`;
    drawing.textAlign = "center";
    drawing.textBaseline = "middle";
    drawing.lineWidth = 4 / this.scale;
    drawing.strokeStyle = "#000";
    drawing.fillStyle = "#fff";
    drawing.strokeText(isInside ? "+" : "−", x, y);
    drawing.fillText(isInside ? "+" : "−", x, y);
  }

  /** @param {CanvasRenderingContext2D} drawing */
  _drawOutline(drawing) {
    if (!this.outline) return;
    const points = this.outline.cursor ? [...this.outline.points, this.outline.cursor] : this.outline.points;
    const path = new Path2D();
    for (const [i, [x, y]] of points.entries()) i ? path.lineTo(x, y) : path.moveTo(x, y);
    for (const [x, y] of this.outline.points.slice(0, 1)) path.rect(x - 3 / this.scale, y - 3 / this.scale, 6 / this.scale, 6 / this.scale);
    for (const [color, thickness] of [["#000", 3], ["#fff", 1.5]]) {
      drawing.strokeStyle = String(color);
      drawing.lineWidth = Number(thickness) / this.scale;
      drawing.stroke(path);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} drawing
   * @param {{x: number, y: number, size: number}} brush
   */
  _drawBrush(drawing, { x, y, size }) {
    const path = new Path2D();
    path.arc(x, y, Math.max(size / 2, 0.5), 0, 2 * Math.PI);
    for (const [color, thickness] of [["#000", 3], ["#fff", 1.5]]) {
      drawing.strokeStyle = String(color);
      drawing.lineWidth = Number(thickness) / this.scale;
      drawing.stroke(path);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} drawing
   * @param {LabelMap} map
   */
  _drawNames(drawing, map) {
    const large = map.labels.length / 400;
    drawing.font = `600 ${13 / this.scale}px system-ui, sans-serif`;
    drawing.textAlign = "center";
    drawing.textBaseline = "middle";
    drawing.lineJoin = "round";
    drawing.lineWidth = 3 / this.scale;
    drawing.strokeStyle = "#000";
    drawing.fillStyle = "#fff";
    for (const region of map.regions.list().slice(0, 60)) {
      if (region.count < large) break;
      if (map.look.isolated !== null && map.look.isolated !== region.label) continue;
      const [x, y] = [region.spot[0] + 0.5, region.spot[1] + 0.5];
      drawing.strokeText(map.palette.name(region.label), x, y);
      drawing.fillText(map.palette.name(region.label), x, y);
    }
  }
}

/** @type {{runs: number[], path: Path2D} | null} */
let last = null;

/**
 * Return the border of a set of pixels as lines between pixels.
 * @param {number[]} runs
 * @param {number} width
 */
function edges(runs, width) {
  if (last && last.runs === runs) return last.path;
  const path = new Path2D();
  const rows = spansByRow(runs, width);
  for (const [y, spans] of rows) {
    for (const [from, to] of spans) {
      path.moveTo(from, y);
      path.lineTo(from, y + 1);
      path.moveTo(to, y);
      path.lineTo(to, y + 1);
      for (const [side, other] of [[y, rows.get(y - 1)], [y + 1, rows.get(y + 1)]]) {
        for (const [a, b] of uncovered(from, to, /** @type {[number, number][] | undefined} */ (other))) {
          path.moveTo(a, Number(side));
          path.lineTo(b, Number(side));
        }
      }
    }
  }
  last = { runs, path };
  return path;
}

/**
 * Return the pixels of runs as spans, from and to, of each row. A run may go on in the next rows.
 * @param {number[]} runs
 * @param {number} width
 */
export function spansByRow(runs, width) {
  /** @type {Map<number, [number, number][]>} */
  const rows = new Map();
  for (let i = 0; i < runs.length; i += 2) {
    const end = runs[i] + runs[i + 1];
    for (let start = runs[i]; start < end; ) {
      const y = Math.floor(start / width);
      const to = Math.min(end, (y + 1) * width);
      const row = rows.get(y);
      if (row) row.push([start - y * width, to - y * width]);
      else rows.set(y, [[start - y * width, to - y * width]]);
      start = to;
    }
  }
  return rows;
}

/**
 * Return the parts of a span that no other span covers.
 * @param {number} from
 * @param {number} to
 * @param {[number, number][]} [spans] in order
 */
function uncovered(from, to, spans = []) {
  const parts = [];
  for (const [a, b] of spans) {
    if (b <= from || a >= to) continue;
    if (a > from) parts.push([from, a]);
    from = Math.max(from, b);
  }
  if (from < to) parts.push([from, to]);
  return parts;
}
