// @ts-check
/** The single view: one triple, its map to correct, its prompt, and the decision. */

import * as api from "./api.js";
import { resolve } from "./conflict.js";
import { badges, el, message } from "./dom.js";
import { Editor } from "./editor.js";
import { Labelling } from "./labelling.js";
import { Prompt } from "./prompt.js";
import { TEXTS } from "./texts.js";

export class Single extends Labelling {
  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Dataset} dataset
   * @param {import("./palette.js").Palette} palette
   * @param {import("./queue.js").Queue} queue
   * @param {{back(): void, moved(position: number): void, reload(): Promise<void>}} host
   */
  constructor(root, dataset, palette, queue, host) {
    super(dataset, palette, { back: () => host.back() });
    this.root = root;
    this.queue = queue;
    this.host = host;
    this.position = 0;
    /** Editors with changes on their way, and the next triple, loaded ahead. @type {Map<string, Promise<Editor>>} */
    this.editors = new Map();
    /** Editors with changes that the server has not acknowledged. @type {Set<Editor>} */
    this.busy = new Set();
    /** Functions that remove the messages about them. @type {Map<Editor, () => void>} */
    this.failures = new Map();
    this.prompt = new Prompt(dataset, (text) => this.editor?.change("/api/prompt", { text }), () => this.state());
    api.connection.addEventListener("change", () => this.state());
    this.source = el("span", { class: "source" });
    this.reasons = el("span", { class: "reasons" });
    this.split = el("select", { "aria-label": TEXTS.decide.split, onchange: () => this.move(this.split.value) });
    for (const split of dataset.splits) this.split.append(el("option", { value: split }, split));
    this.accept = el("button", { type: "button", class: "accept", onclick: () => this.decide("accepted") }, `✓ ${TEXTS.decide.accept}`, el("kbd", {}, "A"));
    this.reject = el("button", { type: "button", class: "reject", onclick: () => this.decide("rejected") }, `✕ ${TEXTS.decide.reject}`, el("kbd", {}, "X"));
    this.reopen = el("button", { type: "button", onclick: () => this.decide("open") }, TEXTS.decide.open);
    this.toPrompt = el("button", { type: "button", hidden: true, onclick: () => this.prompt.focus() }, TEXTS.decide.toPrompt);
    root.append(
      this.toolbar.top, this.toolbar.left,
      el("div", { class: "stage" }, this.canvas, this.toolbar.place),
      el(
        "aside", {}, this.chooser.root, this.legend, this.prompt.root,
        el("section", { class: "decide" }, this.toPrompt, el("div", { class: "row" }, this.accept, this.reject),
          el("div", { class: "row" }, el("label", {}, TEXTS.decide.split, this.split), this.reopen)),
      ),
    );
    new IntersectionObserver(([{ isIntersecting }]) => { this.toPrompt.hidden = isIntersecting; }, {
      root: root.querySelector("aside"), rootMargin: "0px 0px -100px 0px",
    }).observe(this.prompt.text);
    this.wait();
  }

  /** Show the triple at a position of the queue. @param {number} position */
  async open(position) {
    const item = await this.queue.at(position);
    if (!item) return;
    this.prompt.store(true); // what was typed belongs to the triple that is left
    this.position = position;
    this.wait(); // keys pressed meanwhile must not reach the triple that is left
    const editor = await this.load(item.id);
    if (this.position !== position) return;
    this.prompt.text.readOnly = false;
    this.attach(editor);
    this.refresh(true);
    this.host.moved(position);
    void this.ahead(position + 1);
  }

  /** No triple can be changed until the next one is loaded. */
  wait() {
    this.detach();
    this.prompt.text.readOnly = true;
  }

  /** @param {string} id */
  load(id) {
    let loading = this.editors.get(id);
    if (!loading) {
      loading = Editor.load(id, this.palette, { ...this.look, confidence: null }, resolve).then(async (editor) => {
        if (editor.details.known_classes !== this.palette.names.length) await this.host.reload();
        editor.addEventListener("change", () => this.changed(editor));
        editor.addEventListener("refused", () => message(editor.reason, { error: true }));
        editor.addEventListener("reload", () => {
          if (editor !== this.editor) return;
          this.tools.cancel();
          this.unselect();
        });
        return editor;
      });
      this.editors.set(id, loading);
      loading.catch(() => this.editors.delete(id));
    }
    return loading;
  }

  /** Get this triple ready for edits, load the next one ahead, and forget the others, unless they have changes that are not stored. @param {number} position */
  async ahead(position) {
    if (this.editor) void prepare(this.editor.details.id);
    const next = await this.queue.at(position);
    for (const [id, loading] of this.editors) {
      const editor = await loading.catch(() => null);
      if (editor?.isBusy || id === next?.id || editor === this.editor) continue;
      this.editors.delete(id);
    }
    if (next) await this.load(next.id).catch(() => undefined);
    if (next && this.dataset.assist) void prepare(next.id);
  }

  /** @param {Editor} editor */
  changed(editor) {
    if (editor.isBusy) this.busy.add(editor);
    else {
      this.busy.delete(editor);
      this.queue.update(editor.details);
    }
    this.failures.get(editor)?.();
    this.failures.delete(editor);
    if (editor.status === "failed") {
      const text = TEXTS.notSaved(editor.details.source, editor.reason);
      this.failures.set(editor, message(text, { error: true, action: TEXTS.retry, run: () => editor.send() }));
    }
    if (editor === this.editor) this.refresh(false);
  }

  /** Bring the panels up to date. @param {boolean} isNew */
  refresh(isNew) {
    const editor = this.editor;
    if (!editor) return;
    const { details, map } = editor;
    const item = this.queue.peek(this.position);
    this.source.textContent = `${this.position < 0 ? "–" : this.position + 1} / ${this.queue.total}  ${details.source}`;
    this.source.title = details.source;
    this.reasons.textContent = (item?.reasons ?? []).join("; ");
    this.reasons.title = this.reasons.textContent;
    const review = TEXTS.reviews[/** @type {"open"} */ (details.review)];
    this.toolbar.title.replaceChildren(this.source, el("span", { class: `review ${details.review}` }, review), badges(details), this.reasons);
    this.split.value = details.split;
    this.reopen.disabled = details.review === "open";
    this.prompt.show(details, isNew, editor.prompt);
    this.state();
    const names = details.classes.map(([label]) => this.palette.name(label));
    this.prompt.offer(names);
    this.showLegend(map);
    this.chooser.show(this.current, this.viewer.selection?.label ?? null);
    this.viewer.draw();
  }

  /** Show what can be undone, and what is not stored. */
  state() {
    this.toolbar.showState(this.editor, this.prompt.isChanged);
  }

  /** Decide, and go on. @param {"open" | "accepted" | "rejected"} review */
  decide(review) {
    if (!this.editor) return;
    this.prompt.store(true);
    if (this.editor.details.review !== review) this.editor.change("/api/decide", { review });
    if (review !== "open") void this.step(1);
  }

  /**
   * Move to another split, and go on if that is wanted: once it is done, since the next triple may move along.
   * @param {string} split
   * @param {boolean} goesOn
   */
  move(split, goesOn = false) {
    const editor = this.editor;
    if (!editor || editor.details.split === split) return void (goesOn && this.step(1));
    editor.change("/api/move", { split }, () => {
      const moved = editor.details.moved ?? [];
      message(TEXTS.decide.moved(moved.length, split));
      for (const id of moved) if (id !== editor.details.id) this.editors.delete(id);
      if (moved.length > 1) void this.queue.reload();
      if (goesOn && editor === this.editor) void this.step(1);
    });
  }

  /** Go to the grid, where everything that is loaded may be changed. */
  leave() {
    this.prompt.store(true);
    this.wait();
    for (const [id, loading] of this.editors) {
      void loading.then((editor) => { if (!editor.isBusy) this.editors.delete(id); }, () => undefined);
    }
  }

  /** Keep the triple that is shown, and go on with the first of a queue whose order has changed. */
  begin() {
    if (!this.editor) return void this.open(0); // the one on its way was not worked on yet
    const item = this.queue.peek(0);
    this.position = item && item.id === this.editor?.details.id ? 0 : -1;
    this.refresh(false);
    void this.ahead(this.position + 1);
  }

  /** Go to another triple. @param {number} step */
  async step(step) {
    const position = this.position + step;
    if (position < 0 || position >= this.queue.total) {
      return void message(step > 0 ? TEXTS.decide.last : TEXTS.decide.first);
    }
    await this.open(position);
  }
}

/** Let the server read a map ahead of its first edit, and a photo ahead of clicks. @param {string} id */
async function prepare(id) {
  await api.post("/api/prepare", { id }).catch(() => undefined);
}
