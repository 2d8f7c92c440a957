// @ts-check
/** Class indices from an indexed PNG, and values from a grey one. A canvas would return colours, which a browser may change; the bytes are exact. */

/**
 * @param {ArrayBuffer} buffer an 8-bit PNG, indexed or grey, not interlaced, as the server sends it
 * @returns {Promise<{width: number, height: number, labels: Uint8Array}>} pixel values in row-major order
 */
export async function decode(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0) !== 0x89504e47) throw new Error("not a PNG");
  const parts = [];
  let [width, height] = [0, 0];
  for (let at = 8; at < buffer.byteLength; at += 12 + view.getUint32(at)) {
    const type = view.getUint32(at + 4);
    if (type === 0x49484452) {
      width = view.getUint32(at + 8);
      height = view.getUint32(at + 12);
      if (view.getUint8(at + 16) !== 8 || ![0, 3].includes(view.getUint8(at + 17)) || view.getUint8(at + 20)) {
        throw new Error("neither an indexed nor a grey PNG of 8 bits");
      }
    }
    if (type === 0x49444154) parts.push(new Uint8Array(buffer, at + 8, view.getUint32(at)));
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  if (bytes.length !== (width + 1) * height) throw new Error("the PNG is incomplete");
  return { width, height, labels: unfilter(bytes, width, height) };
}

/**
 * @param {Uint8Array} bytes rows, each after the number of its filter
 * @param {number} width
 * @param {number} height
 */
function unfilter(bytes, width, height) {
  const labels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = y * (width + 1);
    const to = y * width;
    const up = to - width;
    const filter = bytes[from];
    for (let x = 0; x < width; x++) {
      const raw = bytes[from + 1 + x];
      const left = x ? labels[to + x - 1] : 0;
      const above = y ? labels[up + x] : 0;
      const corner = x && y ? labels[up + x - 1] : 0;
      labels[to + x] = raw + predicted(filter, left, above, corner); // modulo 256, as the format demands
    }
  }
  return labels;
}

/**
 * @param {number} filter
 * @param {number} left
 * @param {number} above
 * @param {number} corner
 */
function predicted(filter, left, above, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  if (filter !== 4) throw new Error("unknown PNG filter");
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
