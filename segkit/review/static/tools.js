// @ts-check
/** Mouse, pen and touch on the canvas: what each tool does to the label map. */

import { changed } from "./regions.js";
import { disc, line, polygon, union } from "./shapes.js";
import { Areas } from "./areas.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./regions.js").Box} Box */
/** @typedef {"region" | "brush" | "eraser" | "polygon" | "lasso" | "fill" | "pick" | "assist" | "hand"} Tool */
/** @typedef {{select(pixel: number, additive: boolean): void, fill(pixel: number): void, pick(pixel: number): void,
 *   point(place: [number, number], isInside: boolean): void,
 *   hover(pixel: number): void, label(): number, describe(label: number, tool: Tool): string}} Host */

export class Tools {
  /**
   * @param {Viewer} viewer
   * @param {Host} host
   */
  constructor(viewer, host) {
    this.viewer = viewer;
    this.host = host;
    /** @type {Editor | null} */
    this.editor = null;
    /** @type {Tool} */
    this.tool = "region";
    this.size = 24;
    this.snaps = false;
    this.areas = new Areas();
    /** @type {Map<number, PointerEvent>} */
    this._pointers = new Map();
    /** @type {{before: Uint8Array, box: Box, at: [number, number], label: number} | null} */
    this._stroke = null;
    /** @type {PointerEvent | null} */
    this._pan = null;
    const canvas = viewer.canvas;
    canvas.addEventListener("pointerdown", (event) => this._down(event));
    canvas.addEventListener("pointermove", (event) => this._move(event));
    canvas.addEventListener("pointerup", (event) => this._up(event));
    canvas.addEventListener("pointercancel", (event) => { this.cancel(); this._up(event); });
    canvas.addEventListener("pointerleave", () => { viewer.brush = null; viewer.draw(); host.hover(-1); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.close());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      viewer.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event);
    }, { passive: false });
  }

  /** Choose a tool. @param {Tool} tool */
  choose(tool) {
    this.cancel();
    this.tool = tool;
    this.viewer.brush = null;
    this.viewer.draw();
  }

  /** Give up what is being drawn. */
  cancel() {
    if (this._stroke && this.editor) {
      this.editor.map.labels.set(this._stroke.before);
      this.editor.map.touch(this._stroke.box);
    }
    this._stroke = null;
    this.viewer.outline = null;
    this.viewer.draw();
  }

  /** Close the polygon and fill it. */
  close() {
    const points = this.viewer.outline?.points ?? [];
    this.viewer.outline = null;
    if (points.length > 2 && this.editor) {
      this._begin(points[0]);
      if (this._stroke) this._stroke.box = union(this._stroke.box, polygon(this.editor.map, points, this._stroke.label));
      this._finish();
    }
    this.viewer.draw();
  }

  get isDrawing() {
    return this._stroke !== null || this.viewer.outline !== null;
  }

  /** @param {PointerEvent} event */
  _down(event) {
    this._pointers.set(event.pointerId, event);
    this.viewer.canvas.setPointerCapture(event.pointerId);
    if (!this.editor) return;
    if (this._pointers.size > 1) return this.cancel(); // two fingers zoom and pan
    if (this.tool === "assist" && event.button !== 1) {
      return this.host.point(this.viewer.place(event), event.button === 0 && !event.shiftKey);
    }
    if (event.button !== 0 || this.tool === "hand") {
      this._pan = event;
      return;
    }
    const place = this.viewer.place(event);
    const pixel = this.viewer.pixel(place);
    if (event.altKey || this.tool === "pick") return this.host.pick(pixel);
    if (this.tool === "region") return this.host.select(pixel, event.shiftKey);
    if (this.tool === "fill") return this.host.fill(pixel);
    if (this.tool === "polygon") return this._corner(place);
    if (this.tool === "lasso") this.viewer.outline = { points: [place], cursor: null };
    else this._paint(place, true);
  }

  /** @param {[number, number]} place */
  _corner(place) {
    const outline = this.viewer.outline ?? { points: [], cursor: null };
    const first = outline.points[0];
    const isClosing = first && Math.hypot(first[0] - place[0], first[1] - place[1]) * this.viewer.scale < 8;
    this.viewer.outline = outline;
    if (isClosing && outline.points.length > 2) return this.close();
    outline.points.push(place);
    this.viewer.draw();
  }

  /** @param {PointerEvent} event */
  _move(event) {
    const before = this._pointers.get(event.pointerId);
    if (before && this._pointers.size === 2) return this._pinch(event, before);
    const place = this.viewer.place(event);
    this.host.hover(this.viewer.pixel(place));
    if (this._pan) {
      this.viewer.panBy(event.clientX - this._pan.clientX, event.clientY - this._pan.clientY);
      this._pan = event;
    } else if (this._stroke) {
      for (const part of event.getCoalescedEvents?.() ?? [event]) this._paint(this.viewer.place(part), false);
      this._paint(place, false);
    } else if (this.viewer.outline) {
      if (this.tool === "lasso") this.viewer.outline.points.push(place);
      else this.viewer.outline.cursor = place;
    }
    const isBrush = this.tool === "brush" || this.tool === "eraser";
    this.viewer.brush = isBrush ? { x: place[0], y: place[1], size: this.size } : null;
    this.viewer.draw();
  }

  /**
   * @param {PointerEvent} event
   * @param {PointerEvent} before
   */
  _pinch(event, before) {
    const other = [...this._pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    if (!other) return;
    const distance = (/** @type {PointerEvent} */ a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY);
    const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
    this.viewer.zoomBy(distance(event) / Math.max(1, distance(before)), middle);
    this.viewer.panBy((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this._pointers.set(event.pointerId, event);
  }

  /** @param {PointerEvent} event */
  _up(event) {
    this._pointers.delete(event.pointerId);
    this._pan = null;
    if (this._stroke) this._finish();
    else if (this.tool === "lasso" && this.viewer.outline) this.close();
  }

  /** @param {[number, number]} at */
  _begin(at) {
    if (!this.editor) return;
    const label = this.tool === "eraser" ? this.editor.map.palette.unlabelled : this.host.label();
    const box = { left: Infinity, top: Infinity, right: 0, bottom: 0 };
    this._stroke = { before: this.editor.map.labels.slice(), box, at, label };
  }

  /**
   * @param {[number, number]} place
   * @param {boolean} isFirst
   */
  _paint(place, isFirst) {
    if (isFirst) this._begin(place);
    const [stroke, map] = [this._stroke, this.editor?.map];
    if (!stroke || !map) return;
    let box;
    if (this.snaps && this.areas.fits(map)) box = this.areas.fill(map, place, this.size, stroke.label);
    else if (isFirst) box = disc(map, place[0], place[1], this.size, stroke.label);
    else box = line(map, stroke.at, place, this.size, stroke.label);
    stroke.at = place;
    stroke.box = union(stroke.box, box);
    map.touch(box);
    this.viewer.draw();
  }

  _finish() {
    const [stroke, editor] = [this._stroke, this.editor];
    this._stroke = null;
    if (!stroke || !editor) return;
    const runs = changed(stroke.before, editor.map.labels, editor.map.width, stroke.box);
    editor.map.touch(stroke.box);
    editor.relabel([{ label: stroke.label, runs }], this.host.describe(stroke.label, this.tool), true);
  }
}
