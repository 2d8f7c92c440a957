// @ts-check
/** The prompt: edited in place, with its length in tokens. */

import * as api from "./api.js";
import { el, message } from "./dom.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.prompt;
/** Classes that are offered for the prompt. */
const OFFERED = 12;

export class Prompt {
  /**
   * @param {{budget: number, counter: string, flags: Record<string, string>, drafts: boolean}} dataset
   * @param {(text: string) => void} save
   * @param {() => void} typed called when the text begins or ceases to differ from what is stored
   */
  constructor(dataset, save, typed) {
    this._typed = typed;
    this.dataset = dataset;
    this._save = save;
    this.stored = "";
    this.count = el("span", { class: "tokens" });
    this.writer = el("span", { class: "writer" });
    this.flags = el("div", { class: "flags" });
    this.text = el("textarea", { rows: 3, "aria-label": T.title });
    this.save = el("button", { type: "button", class: "main", onclick: () => this.store() }, T.save);
    this.revert = el("button", { type: "button", onclick: () => { this.text.value = this.stored; this._changed(); } }, T.revert);
    this.draft = el("button", { type: "button", hidden: !dataset.drafts, onclick: () => this.suggest() }, T.draft);
    this.id = "";
    this.names = el("div", { class: "names" });
    this.root = el(
      "section", { class: "prompt" },
      el("div", { class: "row" }, el("h2", {}, T.title), this.writer, this.count), this.text, this.flags,
      el("div", { class: "row" }, this.save, this.revert, this.draft), this.names,
    );
    this.text.addEventListener("input", () => this._changed());
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.store(); this.text.blur(); }
      if (event.key === "Escape") this.text.blur();
    });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
  }

  get isChanged() {
    return normalized(this.text.value) !== this.stored;
  }

  /**
   * Show a triple's prompt; what is being typed stays.
   * @param {import("./api.js").Details} details
   * @param {boolean} isNew
   * @param {string} text that is stored, or on its way
   */
  show(details, isNew, text) {
    const keep = !isNew && this.isChanged && text !== normalized(this.text.value);
    this.stored = text;
    this.id = details.id;
    if (!keep) this.text.value = text;
    this.writer.textContent = TEXTS.writers[/** @type {"person"} */ (details.by)] ?? details.by;
    this.flags.replaceChildren(...details.flags.map((flag) => el("p", {}, this.dataset.flags[flag] ?? flag)));
    this._tokens(details.tokens);
    this._buttons();
  }

  /** Offer names to click into the prompt. @param {string[]} names */
  offer(names) {
    const shown = [...this.names.querySelectorAll("button")].map((button) => button.textContent);
    if (shown.join("\n") === names.slice(0, OFFERED).join("\n")) return; // a button may have the focus
    this.names.replaceChildren(
      el("span", {}, T.insert),
      ...names.slice(0, OFFERED).map((name) => el("button", { type: "button", onclick: () => this._insert(name) }, name)),
    );
  }

  focus() {
    this.text.focus();
    this.text.setSelectionRange(this.text.value.length, this.text.value.length);
  }

  /** Put a draft into the field; it is stored when the person stores it. */
  async suggest() {
    const id = this.id;
    this.draft.disabled = true;
    this.draft.textContent = T.drafting;
    try {
      const { text } = await api.post("/api/draft", { id });
      if (id !== this.id) return;
      this.text.value = text;
      this._changed();
      this.focus();
    } finally {
      this.draft.disabled = false;
      this.draft.textContent = T.draft;
    }
  }

  /** Store what was typed. @param {boolean} isLeaving whether the person goes on without asking for it, and is told */
  store(isLeaving = false) {
    const text = normalized(this.text.value);
    if (!this.isChanged) return;
    if (!text) {
      this.text.value = this.stored;
      this._changed();
      return void message(T.empty);
    }
    this.stored = text;
    this._save(text);
    this._buttons();
    if (isLeaving) message(T.left(text));
  }

  /** @param {string} name */
  _insert(name) {
    const { selectionStart: from, selectionEnd: to, value } = this.text;
    const isEnd = from === value.length;
    const before = value.slice(0, from).trimEnd();
    const joined = isEnd && before ? `${before.replace(/,$/, "")}, ${name}` : `${before}${before ? " " : ""}${name} ${value.slice(to).trimStart()}`;
    this.text.value = joined.trim();
    this._changed();
    this.focus();
  }

  _changed() {
    this._buttons();
    clearTimeout(this._timer);
    this._timer = setTimeout(async () => {
      const text = normalized(this.text.value);
      const { tokens } = await api.get(`/api/tokens?${new URLSearchParams({ text })}`);
      if (text === normalized(this.text.value)) this._tokens(tokens);
    }, 150);
  }

  _buttons() {
    this.save.disabled = !this.isChanged || !normalized(this.text.value);
    this.revert.disabled = !this.isChanged;
    if (this.root.classList.contains("changed") === this.isChanged) return;
    this.root.classList.toggle("changed", this.isChanged);
    this._typed();
  }

  /** @param {number} tokens */
  _tokens(tokens) {
    const { budget, counter } = this.dataset;
    const isLong = tokens > budget;
    this.count.textContent = T.tokens(tokens, budget, counter) + (isLong ? `: ${T.long}` : "");
    this.count.classList.toggle("long", isLong);
  }
}

/** @param {string} text */
function normalized(text) {
  return text.split(/\s+/).filter(Boolean).join(" ");
}
