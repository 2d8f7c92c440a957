// @ts-check
/**
 * The server's addresses.
 * @typedef {{id: string, rev: number, source: string, text: string, split: string, review: string, by: string,
 *   flags: string[], width: number, height: number, photo: string, map: string,
 *   badges: [string, string, string][], doubt?: number, reasons?: string[]}} Item
 * @typedef {Item & {classes: [number, number, number][], tokens: number, undoable: number, redoable: number,
 *   confidence: boolean, known_classes: number, moved?: string[]}} Details
 * @typedef {{label: number, runs: number[]}} Stroke
 * @typedef {{stage: string, done: number, total: number}} Waiting
 * @typedef {{total: number, start: number, counts: Record<string, number>, items: Item[], waiting: Waiting | null}} Page
 * @typedef {{name: string, classes: [string, string[], string][], splits: string[], flags: Record<string, string>, badges: Record<string, string>,
 *   budget: number, limit: number, counter: string, unlabelled: number, assist: string, drafts: boolean, where: string, order: string}} Dataset
 */

import { TEXTS } from "./texts.js";

export class ApiError extends Error {
  /**
   * @param {string} text
   * @param {number} status
   */
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

/** Whether the server answers this page, with the event "change". */
class Connection extends EventTarget {
  isUp = true;

  /** @param {boolean} isUp */
  report(isUp) {
    if (isUp === this.isUp) return;
    this.isUp = isUp;
    this.dispatchEvent(new Event("change"));
  }

  /** Ask from time to time, so that a server that has ended is noticed without a change. */
  watch() {
    setInterval(() => { if (!document.hidden) void request("/static/icon.svg").catch(() => undefined); }, 5000);
  }
}

export const connection = new Connection();

/** The triple has changed since the page read it. */
export class ConflictError extends ApiError {}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
export async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    connection.report(false);
    throw new ApiError(TEXTS.offline, 0);
  }
  connection.report(response.status !== 401); // another start of the server does not know this page
  if (response.status === 401) throw new ApiError(TEXTS.signedOut, 401);
  if (response.ok) return response;
  const reason = await response.json().then((body) => String(body.error), () => response.statusText);
  throw response.status === 409 ? new ConflictError(reason, 409) : new ApiError(reason, response.status);
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  return (await request(path)).json();
}

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Segkit": "1" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** @param {Item} item */
export const photoUrl = (item) => `/photo/${item.id}?v=${item.photo}`;
/** @param {Item} item */
export const mapUrl = (item) => `/map/${item.id}?v=${item.map}`;
/**
 * @param {"photo" | "map"} kind
 * @param {Item} item
 */
export const thumbnailUrl = (kind, item) => `/thumbnails/${kind}/${item.id}?v=${item[kind]}`;
