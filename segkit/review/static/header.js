// @ts-check
/** The top of the page: name, progress, filters. */

import { el } from "./dom.js";
import { TEXTS } from "./texts.js";

/** @typedef {import("./queue.js").Queue} Queue */

const T = TEXTS.filter;
const PRESETS = {
  "": T.all, "review:open": T.open, "review:accepted": T.accepted, "review:rejected": T.rejected,
  "by:person": T.person, "by:nobody": T.noPrompt,
};

export class Header {
  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Dataset} dataset
   * @param {Queue} queue
   * @param {() => void} help
   */
  constructor(root, dataset, queue, help) {
    this.queue = queue;
    this.bar = el("progress", { max: 1, value: 0 });
    this.progress = el("span", { class: "progress-text", role: "status" });
    this.ranked = el("button", { type: "button", class: "ranked", hidden: true, onclick: () => queue.sort() }, TEXTS.showRanked);
    this.text = el("input", { type: "search", placeholder: T.placeholder, value: dataset.where, "aria-label": T.label });
    this.preset = el("select", { "aria-label": T.presets });
    for (const [value, text] of Object.entries(PRESETS)) this.preset.append(el("option", { value }, text));
    const flags = { ...T.badges, ...Object.fromEntries(Object.keys(dataset.flags).map((flag) => [flag, flag])) };
    for (const [flag, text] of Object.entries(flags)) this.preset.append(el("option", { value: `flag:${flag}` }, text));
    this.cls = el("select", { "aria-label": T.cls });
    this.offer(dataset);
    this.order = el("select", { "aria-label": T.order });
    for (const order of ["doubt", "source"]) {
      this.order.append(el("option", { value: order }, T[/** @type {"doubt"} */ (order)]));
    }
    this.order.value = dataset.order;
    const refresh = el("button", { type: "button", title: T.refreshTitle, onclick: () => this.apply(true) }, T.refresh);
    const theme = el("button", { type: "button", title: TEXTS.theme, "aria-label": TEXTS.theme, onclick: toggleTheme }, "◐");
    const keys = el("button", { type: "button", title: TEXTS.help, onclick: help }, "?");
    for (const field of [this.preset, this.cls, this.order]) field.addEventListener("change", () => this.apply());
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { void this.apply(); this.text.blur(); }
      if (event.key === "Escape") this.text.blur();
    });
    this.text.addEventListener("search", () => this.apply());
    root.append(
      el("h1", { title: dataset.name }, dataset.name),
      el("div", { class: "progress" }, this.bar, this.progress, this.ranked),
      el("div", { class: "filters" }, this.preset, this.cls, this.text, this.order, refresh),
      el("div", { class: "corner" }, theme, keys),
    );
    for (const event of ["items", "waiting", "ranked"]) queue.addEventListener(event, () => this.show());
    queue.addEventListener("open", () => this.text.setAttribute("aria-invalid", String(queue.error !== "")));
  }

  /** Offer the classes of a dataset. @param {import("./api.js").Dataset} dataset */
  offer(dataset) {
    const { value } = this.cls;
    const names = dataset.classes.map(([name]) => name).sort();
    this.cls.replaceChildren(el("option", { value: "" }, T.anyClass), ...names.map((name) => el("option", { value: name }, name)));
    this.cls.value = value;
  }

  /** Show the triples with a flag. @param {string} flag */
  filter(flag) {
    this.preset.value = `flag:${flag}`;
    return this.apply(true);
  }

  /** The conditions of all fields. */
  get where() {
    const cls = this.cls.value ? `class:${quoted(this.cls.value)}` : "";
    const text = this.text.value.trim();
    const isCondition = /(^|\s)-?\w+(:|<|>|=)\S/.test(text);
    return [this.preset.value, cls, text && !isCondition ? `text:${quoted(text)}` : text].filter(Boolean).join(" ");
  }

  /** Show the triples that meet the conditions. @param {boolean} fresh */
  async apply(fresh = false) {
    const [where, order] = [this.where, this.order.value];
    if (!fresh && where === this.queue.where && order === this.queue.order && this.queue.total) return this.queue.stay();
    await this.queue.open(where, order, fresh);
  }

  show() {
    const { counts, total, waiting, ranked } = this.queue;
    this.ranked.hidden = !ranked;
    if (waiting) {
      this.bar.max = Math.max(1, waiting.total);
      this.bar.value = waiting.done;
      return void (this.progress.textContent = TEXTS.waiting(waiting, total));
    }
    if (ranked) return void (this.progress.textContent = TEXTS.ranked);
    this.bar.max = Math.max(1, total);
    this.bar.value = (counts.accepted ?? 0) + (counts.rejected ?? 0);
    this.progress.textContent = TEXTS.progress(counts, total);
  }
}

/** Quote a value as a shell does. @param {string} value */
function quoted(value) {
  return `'${value.replaceAll("'", `'"'"'`)}'`;
}

function toggleTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

/** Use the theme that was chosen last; without one, the system's. */
export function restoreTheme() {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
