// @ts-check
/** What a person is asked when a triple was changed elsewhere. */

import * as api from "./api.js";
import { ask, el } from "./dom.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.conflict;

/**
 * @param {import("./editor.js").Editor} editor
 * @param {import("./editor.js").Change} change
 * @returns {Promise<"mine" | "theirs">}
 */
export async function resolve(editor, change) {
  /** @type {Node[]} */
  const content = [el("p", {}, T.text(editor.details.source)), el("p", {}, T.labels)];
  if (change.body.text !== undefined) {
    const theirs = await api.get(`/api/triples/${editor.details.id}`);
    content.push(el("ul", {}, ...T.prompts(theirs.text, change.body.text).map((text) => el("li", {}, text))));
  }
  const answer = await ask(T.title, content, [
    { value: "theirs", text: T.theirs },
    { value: "mine", text: T.mine, main: true },
  ]);
  return answer === "theirs" ? "theirs" : "mine"; // Escape drops nothing
}
