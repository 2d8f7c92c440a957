// @ts-check
/** Elements without markup: every text becomes a text node, so no prompt or file name is ever read as HTML. */

/**
 * Build an element. Properties are set as such; `class`, `role`, `aria-*`, `data-*` and `for` as attributes; functions
 * named `on...` as listeners.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(class|role|for|aria-.*|data-.*)$/.test(name)) element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/**
 * Return an element of the page.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

/**
 * Show a message for a while; one with an action stays longer, an error until it is dismissed or `clearErrors` is
 * called, and one that `stays` until it is removed. The same text is shown once.
 * @param {string} text
 * @param {{error?: boolean, stays?: boolean, action?: string, run?: () => void}} [options]
 * @returns {() => void} removes it
 */
export function message(text, { error = false, stays = false, action = "", run } = {}) {
  for (const shown of byId("messages").children) if (shown.getAttribute("data-text") === text) shown.remove();
  const box = el("div", { class: error ? "message error" : "message", "data-text": text }, text);
  const remove = () => box.remove();
  if (action) box.append(el("button", { type: "button", onclick: () => { remove(); run?.(); } }, action));
  if (action || error) box.append(el("button", { type: "button", class: "quiet", "aria-label": "×", onclick: remove }, "×"));
  byId("messages").append(box);
  if (!error && !stays) setTimeout(remove, action ? 12000 : 3000);
  return remove;
}

/** Remove the errors that ask for nothing. */
export function clearErrors() {
  for (const box of document.querySelectorAll(".message.error:not(:has(button:not(.quiet)))")) box.remove();
}

/**
 * Open a modal dialog and wait for the button that closes it.
 * @param {string} title
 * @param {(Node | string)[]} content
 * @param {{value: string, text: string, main?: boolean}[]} buttons
 * @returns {Promise<string>} the button's value; "" after Escape
 */
export function ask(title, content, buttons) {
  const form = el("form", { method: "dialog" }, el("h2", {}, title), ...content);
  const row = el("div", { class: "buttons" });
  for (const { value, text, main } of buttons) row.append(el("button", { value, class: main ? "main" : "" }, text));
  form.append(row);
  const dialog = el("dialog", {}, form);
  document.body.append(dialog);
  dialog.showModal();
  const first = /** @type {HTMLElement | null} */ (row.querySelector(".main"));
  first?.focus();
  dialog.scrollTop = 0; // the focus has scrolled long content to its end
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** What check found about a triple, and its flags, each with the explanation as its title. @param {{badges: [string, string, string][]}} item */
export function badges({ badges: shown }) {
  return el("span", { class: "badges" }, ...shown.map(([name, severity, title]) => el("span", { class: `badge ${severity}`, title }, name)));
}
