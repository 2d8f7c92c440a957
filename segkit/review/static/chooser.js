// @ts-check
/** Choosing a class: search, those used last, and what is selected. */

import { el } from "./dom.js";
import { TEXTS } from "./texts.js";

/** @typedef {import("./palette.js").Palette} Palette */

const T = TEXTS.classes;
const SHOWN = 60;

/** A field of a class's colour. @param {Palette} palette @param {number} label */
export function swatch(palette, label) {
  const box = el("span", { class: "swatch" });
  box.style.backgroundColor = palette.color(label);
  return box;
}

export class Chooser {
  /**
   * @param {Palette} palette
   * @param {{choose(label: number): void, same(): void, unselect(): void}} host
   */
  constructor(palette, host) {
    this.palette = palette;
    this.host = host;
    this.active = 0;
    /** @type {number[]} */
    this.matches = [];
    this.title = el("div", { class: "selected" });
    this.input = el("input", {
      type: "search", placeholder: T.search, role: "combobox", "aria-label": T.search, "aria-controls": "class-list",
      "aria-expanded": "true", autocomplete: "off", spellcheck: false,
    });
    this.list = el("ul", { id: "class-list", role: "listbox", "aria-label": T.title });
    this.recent = el("div", { class: "recent", "aria-label": T.recent });
    this.same = el("button", { type: "button", onclick: () => host.same() }, T.same);
    this.clear = el("button", { type: "button", onclick: () => host.unselect() }, T.clear);
    const none = el("button", { type: "button", onclick: () => host.choose(palette.unlabelled) }, T.unlabelled);
    this.root = el(
      "section", { class: "chooser" }, this.title, this.input, this.list, this.recent,
      el("div", { class: "row" }, this.same, none, this.clear),
    );
    this.input.addEventListener("input", () => this.search());
    this.input.addEventListener("keydown", (event) => this._key(event));
    this.search();
    this.show(0, null);
  }

  /**
   * Show the current class and what is selected.
   * @param {number} current
   * @param {number | null} selected class of the selection; -1 for any
   */
  show(current, selected) {
    this.title.classList.toggle("waiting", selected !== null);
    this.title.replaceChildren(
      swatch(this.palette, selected ?? current),
      selected === null ? `${T.current}: ${this.palette.name(current)}` : selected < 0 ? T.outlined : T.selection(this.palette.name(selected)),
    );
    this.same.disabled = selected === null || selected < 0;
    this.clear.disabled = selected === null;
    this.recent.replaceChildren(
      ...this.palette.recent.map((label, i) =>
        el(
          "button", { type: "button", title: this.palette.name(label), onclick: () => this.host.choose(label) },
          el("kbd", {}, String(i + 1)), swatch(this.palette, label), el("span", { class: "name" }, this.palette.name(label)),
        ),
      ),
    );
  }

  /** Begin to type a class. */
  focus() {
    this.input.value = "";
    this.search();
    this.input.focus();
  }

  search() {
    const matches = this.palette.search(this.input.value).slice(0, this.input.value ? SHOWN : undefined);
    this.matches = matches.map((match) => match.label);
    this.active = 0;
    this.list.replaceChildren(
      ...matches.map(({ label, by }, i) => {
        const name = this.palette.name(label);
        return el(
          "li", {
            role: "option", id: `class-${label}`, "aria-selected": String(i === 0),
            onpointerdown: (/** @type {Event} */ event) => { event.preventDefault(); this._choose(label); },
          },
          swatch(this.palette, label), el("span", { class: "name" }, name),
          by !== name ? el("span", { class: "by" }, by) : null,
        );
      }),
    );
    if (!matches.length) this.list.append(el("li", { class: "none" }, T.none));
    this._mark();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    const step = steps[/** @type {"ArrowDown"} */ (event.key)];
    if (step) {
      event.preventDefault();
      this.active = Math.max(0, Math.min(this.matches.length - 1, this.active + step));
      this._mark();
    } else if (event.key === "Enter" && this.matches.length) {
      event.preventDefault();
      this._choose(this.matches[this.active]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.input.value = "";
      this.search();
      this.input.blur();
    }
  }

  _mark() {
    for (const [i, row] of [...this.list.children].entries()) row.setAttribute("aria-selected", String(i === this.active));
    const row = this.list.children[this.active];
    if (!(row instanceof HTMLElement)) return;
    this.input.setAttribute("aria-activedescendant", row.id);
    this.list.scrollTop = Math.max(0, Math.min(this.list.scrollTop, row.offsetTop - this.list.offsetTop));
    const below = row.offsetTop - this.list.offsetTop + row.offsetHeight - this.list.clientHeight;
    this.list.scrollTop = Math.max(this.list.scrollTop, below);
  }

  /** @param {number} label */
  _choose(label) {
    this.input.value = "";
    this.input.blur();
    this.search();
    this.host.choose(label);
  }
}
