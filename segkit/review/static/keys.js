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
    /** @type {Binding[]} */
    this.bindings = [];
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
    if ((pressed === "Enter" || pressed === "Space") && event.target instanceof HTMLButtonElement) return undefined;
    return this.bindings.find((binding) => binding.keys.includes(pressed));
  }

  /** Show all keys. */
  async help() {
    const columns = el("div", { class: "keys" });
    for (const [group, title] of Object.entries(TEXTS.keys.groups)) {
      const bindings = this.bindings.filter((binding) => binding.group === group && binding.shown?.length !== 0);
      if (!bindings.length) continue;
      const list = el("dl", {});
      for (const { keys, text, shown: instead } of bindings) {
        const shown = (instead ?? keys).flatMap((key, i) => [i ? " " : "", el("kbd", {}, printed(key))]);
        list.append(el("div", {}, el("dt", {}, ...shown), el("dd", {}, text)));
      }
      columns.append(el("section", {}, el("h3", {}, title), list));
    }
    await ask(TEXTS.keys.title, [columns], [{ value: "", text: TEXTS.keys.close, main: true }]);
  }
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
