// @ts-check
/** The tools and switches of the single view. */

import { connection } from "./api.js";
import { el } from "./dom.js";
import { TEXTS } from "./texts.js";

/** @typedef {import("./tools.js").Tool} Tool */
/**
 * @typedef {{tool(tool: Tool): void, size(value: number): void, opacity(value: number): void, snap(): void,
 *   names(): void, patterns(): void, confidence(): void, step(kind: "undo" | "redo"): void, back(): void}} Actions
 */

export const MAX_SIZE = 400;

const ICONS = { region: "◱", fill: "◧", brush: "●", eraser: "○", polygon: "⬠", lasso: "ᔕ", pick: "⊹", assist: "✦", hand: "✥" };

export class Toolbar {
  /**
   * @param {Actions} actions
   * @param {boolean} hasAssist
   */
  constructor(actions, hasAssist) {
    /** @type {Map<string, HTMLButtonElement>} */
    this.tools = new Map();
    const tools = el("div", { class: "tools", role: "toolbar" });
    for (const [name, [text, title]] of Object.entries(TEXTS.tools)) {
      const icon = el("span", { class: "icon", "aria-hidden": "true" }, ICONS[/** @type {"region"} */ (name)]);
      const button = el("button", { type: "button", title, "data-tool": name, onclick: () => actions.tool(/** @type {Tool} */ (name)) }, icon, text);
      button.hidden = name === "assist" && !hasAssist;
      this.tools.set(name, button);
      tools.append(button);
    }
    this.snap = toggle(TEXTS.snap[0], TEXTS.snap[1], actions.snap);
    this.size = slider(1, MAX_SIZE, (value) => actions.size(value));
    this.opacity = slider(0, 100, (value) => actions.opacity(value / 100));
    this.names = toggle(TEXTS.names, TEXTS.namesTitle, actions.names);
    this.patterns = toggle(TEXTS.patterns, TEXTS.patternsTitle, actions.patterns);
    this.confidence = toggle(TEXTS.confidence, TEXTS.confidenceTitle, actions.confidence);
    this.undo = el("button", { type: "button", onclick: () => actions.step("undo") }, `↶ ${TEXTS.undo}`);
    this.redo = el("button", { type: "button", onclick: () => actions.step("redo") }, `↷ ${TEXTS.redo}`);
    this.status = el("span", { class: "status", role: "status" });
    this.place = el("span", { class: "place" });
    this.title = el("span", { class: "title" });
    this.left = el(
      "div", { class: "left" }, tools,
      el("div", { class: "group" }, this.snap, el("label", {}, TEXTS.size, this.size)),
    );
    this.top = el(
      "div", { class: "top" },
      el("button", { type: "button", onclick: actions.back }, `▦ ${TEXTS.back}`), this.title,
      el("label", {}, TEXTS.opacity, this.opacity), this.names, this.patterns, this.confidence, this.undo, this.redo,
      this.status,
    );
  }

  /** @param {Tool} tool */
  showTool(tool) {
    for (const [name, button] of this.tools) button.setAttribute("aria-pressed", String(name === tool));
  }

  /** @param {import("./editor.js").Editor | null} editor @param {boolean} isTyped whether the prompt differs from the stored one */
  showState(editor, isTyped = false) {
    this.undo.disabled = !editor?.can("undo");
    this.redo.disabled = !editor?.can("redo");
    let status = editor?.status ?? "";
    if (status === "saved") status = isTyped ? "typed" : connection.isUp ? "saved" : "offline";
    this.status.textContent = status && TEXTS.status[/** @type {"saved"} */ (status)];
    this.status.dataset.status = status;
  }
}

/** @param {string} text @param {string} title @param {() => void} run */
function toggle(text, title, run) {
  return el("button", { type: "button", title, "aria-pressed": "false", onclick: run }, text);
}

/** @param {number} min @param {number} max @param {(value: number) => void} run */
function slider(min, max, run) {
  const input = el("input", { type: "range", min, max });
  input.addEventListener("input", () => run(Number(input.value)));
  input.addEventListener("change", () => input.blur()); // arrows go on to change triples
  return input;
}
