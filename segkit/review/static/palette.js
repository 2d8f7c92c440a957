// @ts-check
/** The classes: colours, patterns, search by name and synonym, and those used last. */

/** @typedef {import("./api.js").Dataset} Dataset */

const RECENT = 9;

export class Palette {
  /** @param {Dataset} dataset */
  constructor(dataset) {
    this.unlabelled = dataset.unlabelled;
    /** @type {number[]} */
    this.recent = [];
    /** @type {string[]} */
    this.names = [];
    /** @type {string[][]} */
    this.synonyms = [];
    /** @type {string[]} */
    this.hex = [];
    this.load(dataset);
  }

  /** Know the classes of a dataset, to which some may have been added. @param {Dataset} dataset */
  load(dataset) {
    this.names = dataset.classes.map(([name]) => name);
    this.synonyms = dataset.classes.map(([, synonyms]) => synonyms);
    this.hex = dataset.classes.map(([, , hex]) => hex);
  }

  /** @param {number} label */
  name(label) {
    return this.names[label] ?? "unlabelled";
  }

  /** @param {number} label */
  color(label) {
    return this.hex[label] ?? "#000000";
  }

  /** Red, green and blue. @param {number} label @returns {[number, number, number]} */
  rgb(label) {
    const hex = this.color(label);
    const at = (/** @type {number} */ from) => parseInt(hex.slice(from, from + 2), 16);
    return [at(1), at(3), at(5)];
  }

  /** Classes in the order of their names. */
  sorted() {
    return this.names.map((name, label) => ({ name, label })).sort((a, b) => a.name.localeCompare(b.name));
  }

  /** Return the class that conditions demand; undefined without one. @param {string} where */
  filtered(where) {
    const match = /(?:^|\s)class:(?:'([^']*)'|"([^"]*)"|(\S+))/.exec(where);
    const best = match && this.search(match[1] ?? match[2] ?? match[3])[0];
    return best?.label;
  }

  /** Remember a class as used last. @param {number} label */
  use(label) {
    if (label === this.unlabelled || this.recent.includes(label)) return; // a class keeps its key
    if (this.recent.length < RECENT) this.recent.push(label);
    else this.recent[RECENT - 1] = label;
  }

  /**
   * Return the classes that a text may mean, best first: names and synonyms that equal it, begin with it, have a word
   * that does, or contain it.
   * @param {string} text
   * @returns {{label: number, by: string}[]} by: the name or synonym that matches
   */
  search(text) {
    const wanted = simplify(text);
    if (!wanted) return this.names.map((by, label) => ({ label, by }));
    const matches = [];
    for (let label = 0; label < this.names.length; label++) {
      let best = { score: Infinity, by: "" };
      for (const [place, name] of [this.names[label], ...this.synonyms[label]].entries()) {
        const score = rank(simplify(name), wanted) + (place ? 0.5 : 0);
        if (score < best.score) best = { score, by: name };
      }
      if (best.score < Infinity) matches.push({ label, ...best });
    }
    return matches.sort((a, b) => a.score - b.score || this.names[a.label].length - this.names[b.label].length);
  }
}

/** @param {string} text */
function simplify(text) {
  return text.toLowerCase().replace(/[\s_-]+/g, " ").trim();
}

/**
 * @param {string} name
 * @param {string} wanted
 */
function rank(name, wanted) {
  if (name === wanted) return 0;
  if (name.startsWith(wanted)) return 1;
  if (name.includes(` ${wanted}`)) return 2;
  return name.includes(wanted) ? 3 : Infinity;
}

/** @type {((x: number, y: number) => boolean)[]} */
const PATTERNS = [
  () => false,
  (x, y) => (x + y) % 8 < 2,
  (x, y) => (x - y + 8000) % 8 < 2,
  (x) => x % 6 < 2,
  (_, y) => y % 6 < 2,
  (x, y) => x % 6 < 2 && y % 6 < 2,
  (x, y) => x % 8 < 1 || y % 8 < 1,
  (x, y) => (x + y) % 8 < 1 || (x - y + 8000) % 8 < 1,
];

/**
 * Report whether a pixel of a class carries its pattern, which tells classes of similar colours apart.
 * @param {number} label
 * @param {number} x
 * @param {number} y
 */
export function hasPattern(label, x, y) {
  return PATTERNS[label % PATTERNS.length](x, y);
}
