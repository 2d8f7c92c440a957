// @ts-check
/** Keys: one list, by which keys are understood and which the help shows. */

import { ask, el } from "./dom.js";
import { TEXTS } from "./texts.js";

/**
 * @typedef {{keys: string[], group: keyof typeof TEXTS.keys.groups, text: string,
 *   shown?: string[], run?: (event: KeyboardEvent) => void, up?: () => void}} Binding
 *   keys: as `name` returns them; shown: in their place in the help, [] for none
 */

/** Return the name of a key, such as "ctrl+z" or "A". @param {KeyboardEvent} event */
export function name(event) {
  const key = event.key === " " ? "Space" : event.key;
  const shift = event.shiftKey && (key.length > 1 || /[a-z]/i.test(key)) ? "shift+" : "";
  const control = event.ctrlKey || event.metaKey ? "ctrl+" : "";
  return control + shift + (key.length === 1 ? key.toLowerCase() : key);
}

export class Keys {
  constructor() {
    /** Those that are understood now. @type {Binding[]} */
    this.bindings = [];
    /** Those of all views, for the help. @type {Record<string, Binding[]>} */
    this.views = {};
    document.addEventListener("keydown", (event) => this._down(event));
    document.addEventListener("keyup", (event) => this._up(event));
    window.addEventListener("blur", () => { for (const binding of this.bindings) binding.up?.(); });
  }

  /** @param {KeyboardEvent} event */
  _down(event) {
    if (event.defaultPrevented || event.altKey || isTyping(event) || document.querySelector("dialog[open]")) return;
    const binding = this._find(event);
    if (!binding?.run) return;
    event.preventDefault();
    binding.run(event);
  }

  /** @param {KeyboardEvent} event */
  _up(event) {
    this.bindings.find((binding) => binding.up && binding.keys.includes(name(event)))?.up?.();
  }

  /** @param {KeyboardEvent} event */
  _find(event) {
    const pressed = name(event);
    if (event.target instanceof HTMLButtonElement) { // reached by Tab from a field, so that no button needs a mouse
      if (["Enter", "Space", "Tab", "shift+Tab"].includes(pressed)) return undefined;
      if (pressed === "Escape") event.target.blur();
    }
    return this.bindings.find((binding) => binding.keys.includes(pressed));
  }

  /** Show all keys: those of this view first. */
  async help() {
    const views = Object.entries(this.views).sort(([, one], [, other]) => Number(other === this.bindings) - Number(one === this.bindings));
    const content = views.flatMap(([view, bindings]) => [el("h2", {}, TEXTS.keys.views[/** @type {"grid"} */ (view)]), columns(bindings)]);
    await ask(TEXTS.keys.title, content, [{ value: "", text: TEXTS.keys.close, main: true }]);
  }
}

/** List the keys of a view by their groups. @param {Binding[]} all */
function columns(all) {
  const box = el("div", { class: "keys" });
  for (const [group, title] of Object.entries(TEXTS.keys.groups)) {
    const bindings = all.filter((binding) => binding.group === group && binding.shown?.length !== 0);
    if (!bindings.length) continue;
    const list = el("dl", {});
    for (const { keys, text, shown: instead } of bindings) {
      const shown = (instead ?? keys).flatMap((key, i) => [i ? " " : "", el("kbd", {}, printed(key))]);
      list.append(el("div", {}, el("dt", {}, ...shown), el("dd", {}, text)));
    }
    box.append(el("section", {}, el("h3", {}, title), list));
  }
  return box;
}

const PRINTED = {
  ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", "shift+ArrowLeft": "Shift ←",
  "shift+ArrowRight": "Shift →", "shift+ArrowUp": "Shift ↑", "shift+ArrowDown": "Shift ↓", Escape: "Esc",
};

/** @param {string} key */
function printed(key) {
  const known = /** @type {Record<string, string>} */ (PRINTED)[key];
  if (known) return known;
  return key.replace("ctrl+", "Ctrl ").replace("shift+", "Shift ").replace(/(?<=^|\s)[a-z]$/, (letter) => letter.toUpperCase());
}

/** @param {KeyboardEvent} event */
function isTyping(event) {
  const target = event.target;
  if (target instanceof HTMLInputElement) return target.type !== "range" && target.type !== "checkbox";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}
