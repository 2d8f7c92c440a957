// @ts-check
/** Shapes drawn into a label map. A pixel belongs to a shape if its centre does: no pixel is mixed. */

/** @typedef {import("./regions.js").Box} Box */
/** @typedef {{labels: Uint8Array, width: number, height: number}} Target */

/**
 * Draw a disc.
 * @param {Target} target
 * @param {number} x centre, in pixels from the left border
 * @param {number} y
 * @param {number} diameter in pixels; 1 is a single pixel
 * @param {number} label
 * @returns {Box} the part that may have changed
 */
export function disc(target, x, y, diameter, label) {
  if (diameter < 2) [x, y] = [Math.floor(x) + 0.5, Math.floor(y) + 0.5]; // exactly the pixel under the cursor
  const radius = diameter / 2;
  const box = clip(target, x - radius, y - radius, x + radius, y + radius);
  for (let row = box.top; row < box.bottom; row++) {
    for (let column = box.left; column < box.right; column++) {
      const [dx, dy] = [column + 0.5 - x, row + 0.5 - y];
      if (dx * dx + dy * dy <= radius * radius) target.labels[row * target.width + column] = label;
    }
  }
  return box;
}

/**
 * Draw discs along a line, without gaps.
 * @param {Target} target
 * @param {[number, number]} from
 * @param {[number, number]} to
 * @param {number} diameter
 * @param {number} label
 */
export function line(target, from, to, diameter, label) {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  const steps = Math.max(1, Math.ceil(length / Math.max(0.5, diameter / 4)));
  let box = disc(target, to[0], to[1], diameter, label);
  for (let step = 0; step < steps; step++) {
    const part = step / steps;
    const [x, y] = [from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part];
    box = union(box, disc(target, x, y, diameter, label));
  }
  return box;
}

/**
 * Fill a polygon, even-odd.
 * @param {Target} target
 * @param {[number, number][]} points corners
 * @param {number} label
 */
export function polygon(target, points, label) {
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const box = clip(target, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
  for (let row = box.top; row < box.bottom; row++) {
    const crossings = crossed(points, row + 0.5);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(box.left, Math.ceil(crossings[i] - 0.5));
      const to = Math.min(box.right, Math.ceil(crossings[i + 1] - 0.5));
      if (from < to) target.labels.fill(label, row * target.width + from, row * target.width + to);
    }
  }
  return box;
}

/**
 * Return where the sides of a polygon cross a horizontal line, from left to right.
 * @param {[number, number][]} points
 * @param {number} y
 */
function crossed(points, y) {
  const crossings = [];
  for (let i = 0; i < points.length; i++) {
    const [[x1, y1], [x2, y2]] = [points[i], points[(i + 1) % points.length]];
    if (y1 <= y !== y2 <= y) crossings.push(x1 + ((y - y1) * (x2 - x1)) / (y2 - y1));
  }
  return crossings.sort((a, b) => a - b);
}

/**
 * @param {Target} target
 * @param {number} left
 * @param {number} top
 * @param {number} right
 * @param {number} bottom
 * @returns {Box}
 */
function clip(target, left, top, right, bottom) {
  return {
    left: Math.max(0, Math.floor(left)),
    top: Math.max(0, Math.floor(top)),
    right: Math.min(target.width, Math.ceil(right) + 1),
    bottom: Math.min(target.height, Math.ceil(bottom) + 1),
  };
}

/**
 * @param {Box} a
 * @param {Box} b
 * @returns {Box}
 */
export function union(a, b) {
  return {
    left: Math.min(a.left, b.left),
    top: Math.min(a.top, b.top),
    right: Math.max(a.right, b.right),
    bottom: Math.max(a.bottom, b.bottom),
  };
}
