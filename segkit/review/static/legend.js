// @ts-check
/** The classes of a map with their shares; a click shows one alone. */

import { el } from "./dom.js";
import { swatch } from "./chooser.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.legend;

/**
 * @param {import("./labelmap.js").LabelMap} map
 * @param {Map<number, number>} confidences by label
 * @param {(label: number) => void} isolate
 */
export function legend(map, confidences, isolate) {
  const counts = map.counts();
  const present = [...counts.keys()].filter((label) => counts[label]).sort((a, b) => counts[b] - counts[a]);
  const list = el("ul", { class: "legend" });
  for (const label of present) {
    const share = counts[label] / map.labels.length;
    const confidence = confidences.get(label);
    list.append(
      el(
        "li", {},
        el(
          "button", {
            type: "button", title: T.isolate, "aria-pressed": String(map.look.isolated === label),
            "data-label": label, onclick: () => isolate(label),
          },
          swatch(map.palette, label), el("span", { class: "name" }, map.palette.name(label)),
          el("span", { class: "confidence", title: T.confidence(confidence) },
            confidence === undefined ? "" : confidence.toFixed(2)),
          el("span", { class: "share" }, T.share(share)),
        ),
      ),
    );
  }
  return list;
}
