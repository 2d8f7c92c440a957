// @ts-check
/** Every English text of the page. */

/** @param {number} n */
const number = (n) => n.toLocaleString("en");

export const TEXTS = {
  unlabelled: "unlabelled",
  reviews: { open: "open", accepted: "accepted", rejected: "left out" },
  splits: { train: "train", val: "val", test: "test" },
  writers: { person: "written by a person", model: "drafted by a model", nobody: "no prompt" },
  /** @param {Record<string, number>} counts @param {number} total */
  progress: (counts, total) =>
    `${number(counts.accepted ?? 0)} of ${number(total)} accepted, ${number(counts.rejected ?? 0)} left out`,
  /** @param {{stage: string, done: number, total: number}} waiting @param {number} shown triples that can be seen meanwhile */
  waiting: ({ stage, done, total }, shown) => {
    const percent = `${Math.floor((100 * done) / Math.max(1, total))} %`;
    if (stage === "bytes validated") {
      return `Reading the manifest, which was changed: ${percent}` + (shown ? `. These are its first ${number(shown)} triples.` : "");
    }
    if (stage === "triples ranked") return `Ranking ${number(total)} triples by doubt: ${percent}`;
    return stage === "triples filtered" ? `Filtering ${number(total)} triples: ${percent}` : "Ranking the triples…";
  },
  ranked: "Ranked by doubt.",
  rankedNext: "The triples are ranked by doubt now: the next one is the most doubtful.",
  showRanked: "Show the most doubtful first",
  offline:
    `The server does not answer; what this page has shown as saved is stored. Start segkit review again with --port ${location.port || 80}, ` +
    "and open the address that it prints in another tab.",
  signedOut: "segkit review was started again: open the address that it printed in another tab.",

  filter: {
    label: "Filter",
    placeholder: "words of the prompt, or conditions such as class:person share>0.3",
    presets: "Show",
    all: "all triples",
    open: "open",
    accepted: "accepted",
    rejected: "left out",
    flagged: "prompts with a flag",
    person: "prompts of a person",
    noPrompt: "without a prompt",
    badges: { check: "found by check", "near-duplicate": "near-duplicates" },
    cls: "Class",
    anyClass: "any class",
    order: "Order",
    doubt: "most doubtful first",
    source: "by file name",
    refresh: "Rank again",
    refreshTitle: "Rank the triples again, with what has been changed",
  },
  /** @param {number} n */
  found: (n) => `Check found something about ${number(n)} ${n === 1 ? "triple" : "triples"}.`,
  showFound: "Show",
  /** @param {number} n */
  added: (n) => (n === 1 ? "A class was added to the palette." : `${number(n)} classes were added to the palette.`),
  theme: "Light or dark",
  help: "Keys",
  view: { photo: "photo", overlay: "both", map: "map" },
  grid: {
    empty: "No triple meets these conditions.",
    ranking: "Ranking the triples…",
    hint: "Double-click or Enter opens a triple. Its circle, Ctrl-click, Shift-click or Space selects.",
    tick: "Select or unselect",
    /** @param {number} n */
    limit: (n) => `At most ${number(n)} triples can be selected at once.`,
    /** @param {number} done @param {number} of */
    deciding: (done, of) => `Decisions stored: ${number(done)} of ${number(of)}`,
    /** @param {number} n */
    selected: (n) => `${number(n)} selected`,
    acceptPage: "Accept what is visible",
    accept: "Accept",
    reject: "Leave out",
    changeClass: "Change a class…",
    none: "Clear",
    all: "Select all",
    unmarked: "First choose a triple: click it, or go to it with the arrows.",
    /** @param {number} done @param {string} source of the first @param {string} review @param {number} conflicts */
    decided: (done, source, review, conflicts) =>
      `${done === 1 ? source : `${number(done)} triples`}: ${TEXTS.reviews[/** @type {"open"} */ (review)]}.` + (conflicts ? ` ${number(conflicts)} changed meanwhile and stay as they are.` : ""),
    undo: "Undo",
    /** @param {number} kept */
    undone: (kept) => (kept ? `Undone, except in ${number(kept)} that were edited since.` : "Undone."),
  },
  bulk: {
    title: "Change a class in the selection",
    from: "Every pixel of",
    to: "becomes",
    choose: "choose a class…",
    /** @param {string} name @param {number} n */
    option: (name, n) => `${name} (${number(n)})`,
    /** @param {number} affected @param {number} of @param {number} share */
    preview: (affected, of, share) =>
      `${number(affected)} of ${number(of)} triples ${affected === 1 ? "has" : "have"} this class, on ${(100 * share).toFixed(1)} % of their pixels on average.`,
    /** @param {number} n */
    changing: (n) => `Changing ${number(n)} triples…`,
    apply: "Change",
    cancel: "Cancel",
    /** @param {number} n @param {string} from @param {string} to */
    done: (n, from, to) => `${from} is ${to} now in ${number(n)} triples.`,
  },
  tools: {
    region: ["Region", "Click a region, then choose its class"],
    fill: ["Fill", "Click a region: it becomes the current class"],
    brush: ["Brush", "Paint the current class"],
    eraser: ["Eraser", "Paint unlabelled"],
    polygon: ["Polygon", "Click corners; double-click or Enter closes"],
    lasso: ["Lasso", "Draw around an area: it becomes the current class"],
    pick: ["Pick", "Take the class under the cursor"],
    assist: ["Assist", "Click a thing: a network outlines it; right-click what is not part of it"],
    hand: ["Hand", "Move the picture"],
  },
  snap: ["Snap", "The brush fills areas that follow the photo's edges"],
  size: "Size",
  opacity: "Map",
  names: "Names",
  namesTitle: "Write the names of classes on the map",
  patterns: "Patterns",
  patternsTitle: "Show a pattern for each class, beside its colour",
  confidence: "Confidence",
  confidenceTitle: "Colour the map by the segmenter's confidence: dark is low",
  undo: "Undo",
  redo: "Redo",
  back: "All triples",
  classes: {
    title: "Class",
    current: "Current class",
    search: "Search a class by name or synonym",
    none: "No class has that name.",
    recent: "Used last",
    /** @param {string} name */
    selection: (name) => `Selected: ${name}. Choose its class.`,
    outlined: "Outlined. Choose its class.",
    same: "All of this class",
    unlabelled: "Unlabelled",
    clear: "Unselect",
  },
  legend: {
    title: "In this map",
    isolate: "Show only this class; again shows all",
    /** @param {number} share */
    share: (share) => (share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`),
    /** @param {number | undefined} mean */
    confidence: (mean) => (mean === undefined ? "" : `mean confidence ${mean.toFixed(2)}`),
    /** @param {number} confidence */
    confidenceHere: (confidence) => `confidence ${confidence.toFixed(2)}`,
  },
  prompt: {
    title: "Prompt",
    /** @param {number} tokens @param {number} budget @param {string} counter */
    tokens: (tokens, budget, counter) => `${tokens} of ${budget} tokens${counter === "estimate" ? " (estimated)" : ""}`,
    long: "what exceeds the limit is ignored",
    save: "Save",
    revert: "Revert",
    draft: "Draft again",
    drafting: "Drafting…",
    insert: "Add to the prompt:",
    empty: "A prompt cannot be empty: the earlier one is kept.",
    /** @param {string} text */
    left: (text) => `Prompt stored as yours: ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`,
  },
  decide: {
    accept: "Accept",
    reject: "Leave out",
    open: "Open again",
    toPrompt: "Prompt ↓ (T)",
    split: "Split",
    /** @param {number} n @param {string} split */
    moved: (n, split) => (n > 1 ? `${n} near-duplicates moved to ${split} together.` : `Moved to ${split}.`),
    last: "This is the last triple of the queue.",
    first: "This is the first triple of the queue.",
  },
  status: {
    saved: "Saved", saving: "Saving…", failed: "Not saved", typed: "Prompt not saved", offline: "Server does not answer",
  },
  retry: "Try again",
  /** @param {string} source @param {string} reason */
  notSaved: (source, reason) => `${source}: not saved. ${reason} Then press ${TEXTS.retry} here.`,
  conflict: {
    title: "Changed elsewhere",
    /** @param {string} source */
    text: (source) => `${source} was changed in another tab, or by another person, after this page had read it.`,
    labels: "Your last change is not stored yet.",
    mine: "Apply my change on top",
    theirs: "Keep theirs, drop mine",
    /** @param {string} theirs @param {string} mine */
    prompts: (theirs, mine) => [`Theirs: ${theirs}`, `Yours: ${mine}`],
  },
  /** @param {string} from @param {string} to */
  edit: (from, to) => `${from} -> ${to}`,
  painted: { brush: "brush", eraser: "eraser", polygon: "polygon", lasso: "lasso", region: "", fill: "", pick: "", assist: "assist", hand: "" },
  keys: {
    title: "Keys",
    views: { grid: "All triples", single: "One triple" },
    close: "Close",
    groups: { go: "Go", decide: "Decide", show: "Show", edit: "Edit the map", prompt: "Prompt", grid: "In the grid" },
    next: "next triple",
    previous: "previous triple",
    grid: "all triples",
    open: "open the triple",
    help: "this list",
    filter: "filter",
    accept: "accept, and next",
    reject: "leave out, and next",
    reopen: "open again",
    train: "move to train, and next",
    val: "move to val, and next",
    test: "move to test, and next",
    photo: "hold: the photo alone",
    hide: "hide or show the map",
    opacity: "map fainter, stronger",
    zoom: "zoom in, out (or the wheel)",
    fit: "whole picture",
    pan: "move the picture",
    names: "names on the map",
    patterns: "patterns",
    isolate: "only the class of the selection, or all",
    confidence: "confidence",
    region: "select regions; Shift adds",
    fill: "fill regions with the current class",
    brush: "brush",
    eraser: "eraser",
    polygon: "polygon",
    lasso: "lasso",
    pick: "take the class under the cursor (or Alt-click)",
    assist: "outline a thing by clicks; right button or Shift: what is not part of it",
    hand: "move the picture (or the right button)",
    snap: "snap the brush to edges",
    size: "brush smaller, larger",
    regions: "next, previous region",
    same: "all of the same class",
    choose: "choose a class",
    recent: "a class used last",
    unlabelled: "selection becomes unlabelled",
    undo: "undo",
    redo: "redo",
    cancel: "unselect, give up a shape; back to the region tool",
    clear: "unselect all",
    finish: "close the polygon",
    prompt: "edit the prompt; Enter saves, Escape leaves",
    select: "select or unselect",
    move: "move; with Shift, select",
    first: "first triple",
    last: "last triple",
    acceptThese: "accept the selected triples, or the marked one",
    rejectThese: "leave them out",
    selectAll: "select all",
  },
};
