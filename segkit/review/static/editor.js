// @ts-check
/**
 * One triple being edited. Edits appear at once and are sent one after the other, each with the revision that the one
 * before it left; what the server did not acknowledge stays in the queue.
 */

import * as api from "./api.js";
import { LabelMap } from "./labelmap.js";
import { decode } from "./png.js";

/** @typedef {import("./api.js").Details} Details */
/** @typedef {import("./api.js").Stroke} Stroke */
/** @typedef {{path: string, body: Record<string, any>, done?: () => void | Promise<void>}} Change */
/** @typedef {"saved" | "saving" | "failed"} Status */

export class Editor extends EventTarget {
  /**
   * @param {Details} details
   * @param {LabelMap} map
   * @param {HTMLImageElement} photo
   * @param {(editor: Editor, change: Change) => Promise<"mine" | "theirs">} resolve asks a person about a conflict
   */
  constructor(details, map, photo, resolve) {
    super();
    this.details = details;
    this.map = map;
    this.photo = photo;
    this._resolve = resolve;
    /** @type {Change[]} */
    this.queue = [];
    /** @type {Status} */
    this.status = "saved";
    this.reason = "";
  }

  /**
   * Load a triple.
   * @param {string} id
   * @param {import("./palette.js").Palette} palette
   * @param {import("./labelmap.js").Look} look
   * @param {(editor: Editor, change: Change) => Promise<"mine" | "theirs">} resolve
   */
  static async load(id, palette, look, resolve) {
    const [details, map] = await read(id);
    const photo = new Image();
    photo.src = api.photoUrl(details);
    const [sure] = await Promise.all([confidence(details), photo.decode()]);
    const editor = new Editor(details, new LabelMap(map, palette, look), photo, resolve);
    editor.map.sure = sure;
    return editor;
  }

  get isBusy() {
    return this.queue.length > 0;
  }

  /** The prompt that is stored, or on its way. @returns {string} */
  get prompt() {
    return this.queue.findLast(({ path }) => path === "/api/prompt")?.body.text ?? this.details.text;
  }

  /**
   * Change pixels. The strokes are drawn already, or are drawn now.
   * @param {Stroke[]} strokes
   * @param {string} what
   * @param {boolean} isDrawn
   */
  relabel(strokes, what, isDrawn = false) {
    const some = strokes.filter((stroke) => stroke.runs.length);
    if (!some.length) return;
    if (!isDrawn) this.map.apply(some);
    this.change("/api/relabel", { strokes: some, what, request: random() });
  }

  /** Report whether an edit can be taken back or repeated, once all changes are sent. @param {"undo" | "redo"} kind */
  can(kind) {
    let { undoable, redoable } = this.details;
    for (const { path } of this.queue) {
      if (path === "/api/relabel") [undoable, redoable] = [undoable + 1, 0];
      if (path === "/api/undo") [undoable, redoable] = [undoable - 1, redoable + 1];
      if (path === "/api/redo") [undoable, redoable] = [undoable + 1, redoable - 1];
    }
    return (kind === "undo" ? undoable : redoable) > 0;
  }

  /** Take the last edit back, or repeat it. @param {"undo" | "redo"} kind */
  step(kind) {
    if (!this.can(kind)) return;
    this.change(`/api/${kind}`, { request: random() }, () => this.reload());
  }

  /**
   * Send a change.
   * @param {string} path
   * @param {Record<string, any>} body
   * @param {() => void | Promise<void>} [done]
   */
  change(path, body, done) {
    this.queue.push({ path, body, done });
    if (this.queue.length === 1 || this.status === "failed") void this.send();
  }

  /** Send what is in the queue, until it is empty or a change fails. */
  async send() {
    while (this.queue.length) {
      const change = this.queue[0];
      this._report("saving");
      try {
        const before = this.details;
        const after = await api.post(change.path, { id: before.id, rev: before.rev, ...change.body });
        this.details = after;
        this.queue.shift();
        if (change.body.strokes && after.confidence) this.map.setSure(await confidence(after));
        await change.done?.();
      } catch (error) {
        if (!(await this._recover(change, error))) return;
      }
    }
    this._report("saved");
  }

  /**
   * Deal with a change that was refused; report whether to go on.
   * @param {Change} change
   * @param {unknown} error
   */
  async _recover(change, error) {
    this.reason = error instanceof Error ? error.message : String(error);
    if (error instanceof api.ConflictError) {
      if ((await this._resolve(this, change)) === "theirs") this.queue = [];
    } else if (error instanceof api.ApiError && [400, 422].includes(error.status)) {
      this.queue = []; // it will never be accepted, and the others were made on top of it
      this.dispatchEvent(new Event("refused"));
    } else {
      this._report("failed");
      return false;
    }
    await this.reload();
    return true;
  }

  /** Read the triple again; changes in the queue are drawn on top. */
  async reload() {
    const [details, map] = await read(this.details.id);
    this.map.sure = await confidence(details);
    this.dispatchEvent(new Event("reload")); // before: a stroke that is being drawn belongs to the old labels
    this.details = details;
    this.map.labels = map.labels;
    const strokes = this.queue.flatMap((change) => change.body.strokes ?? []);
    this.map.apply(strokes);
    this._report(this.status);
  }

  /** @param {Status} status */
  _report(status) {
    this.status = status;
    this.dispatchEvent(new Event("change"));
  }
}

/** Return a name for a request: one whose answer is lost is sent again, and carried out once. */
function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Read how sure the segmenter was, if that was stored. @param {Details} details */
async function confidence(details) {
  if (!details.confidence) return null;
  return decode(await (await api.request(`/confidence/${details.id}`)).arrayBuffer());
}

/**
 * Read details and map of the same revision.
 * @param {string} id
 * @returns {Promise<[Details, {width: number, height: number, labels: Uint8Array}]>}
 */
async function read(id) {
  for (;;) {
    const [details, response] = await Promise.all([api.get(`/api/triples/${id}`), api.request(`/map/${id}`)]);
    if (Number(response.headers.get("X-Revision")) === details.rev) {
      return [details, await decode(await response.arrayBuffer())];
    }
  }
}
