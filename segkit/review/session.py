"""What the page asks of a dataset. No truth is kept here: rankings are order only, and triples are read when asked for.

Every method may be called from several threads. Writers wait for each other, since the dataset's lock refuses a second.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from segkit.dataset import Dataset, confidences, decisions, relabel, saving
from segkit.dataset.prompts import BUDGET, FLAGS, estimate
from segkit.dataset.relabel import State
from segkit.dataset.triple import SPLITS, Triple
from segkit.dataset.where import ALIKE
from segkit.errors import ConflictError, UsageError
from segkit.models.tokens import Counter
from segkit.palette import UNLABELLED
from segkit.palette.color import to_hex
from segkit.review import messages
from segkit.review.assist import Assist
from segkit.review.drafting import Drafting
from segkit.review.findings import PATIENCE, Findings
from segkit.review.order import Orders, Queue, Waiting
from segkit.review.queue import ANY, Order

MAX_ITEMS = 500
"""Triples of one page of the queue."""

_ROUNDED = 0.001
"""Share of a map up to which the rounded shares of its classes may miss 1 without an unlabelled pixel."""

_NOTHING: "Json" = {"total": 0, "start": 0, "counts": {}, "items": [], "waiting": None}

_ALIKE = "a near-duplicate of another photo"

ESTIMATE = Counter("estimate", estimate)
"""The counter where CLIP's tokenizer is unavailable."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Networks:
    """What helps a person.

    Attributes:
        assist: computes masks from clicks.
        drafting: suggests prompts.
    """

    assist: Assist | None = None
    drafting: Drafting | None = None


NO_NETWORKS = Networks()


class Session:
    """A dataset under review.

    Args:
        dataset: that is reviewed.
        counter: counts the CLIP tokens of prompts.
        where, order: of the queue that the page opens with.
        networks: for clicks and drafts, if they are wanted.
        findings: of check; None if nothing is checked.
    """

    def __init__(
        self,
        dataset: Dataset,
        counter: Counter = ESTIMATE,
        where: str = "",
        order: Order = "doubt",
        networks: Networks = NO_NETWORKS,
        findings: Findings | None = None,
    ) -> None:
        self.dataset, self._counter, self._networks = dataset, counter, networks
        dataset.count = counter.count
        self._start = {"where": where, "order": order}
        self._writing = threading.Lock()
        self._findings = findings
        self._orders = Orders(dataset, findings.all if findings else tuple)

    def describe(self) -> Json:
        """Return what all triples share: classes, splits, the opening view."""
        self.dataset.reload_info()  # another process may have added classes
        return {
            "name": self.dataset.folder.absolute().name,
            "classes": [[s.name, list(s.synonyms), to_hex(s.rgb)] for s in self.dataset.info.palette],
            "splits": SPLITS,
            "flags": FLAGS,
            "badges": {ANY: "", ALIKE: _ALIKE},
            "budget": BUDGET,
            "limit": messages.MAX_KEYS,
            "counter": self._counter.name,
            "unlabelled": UNLABELLED,
            "assist": self._networks.assist.name if self._networks.assist else "",
            "drafts": self._networks.drafting is not None,
            **self._start,
        }

    def items(self, where: str, order: Order, start: int, limit: int, fresh: bool) -> Json:
        """Return a part of the queue, with each triple as it is now.

        While a large dataset is ranked, "waiting" says how far that is. Without conditions, the items are in the order
        of the dataset until then; with conditions, there are none.

        Raises:
            UsageError, PaletteError: a condition is malformed.
        """
        if fresh and self._findings:
            self._findings.again()
        queue = self._orders.get(where, order, fresh)
        if isinstance(queue, Waiting):
            before = _NOTHING if where else self.unranked(start, limit)
            return {**before, "waiting": queue}
        if self._findings:
            self._findings.begin()  # after the first ranking, which a person waits for
        return self._part(queue, start, limit)

    def unranked(self, start: int, limit: int) -> Json:
        """Return a part of a large dataset in its own order, also when it is ranked: the page may show this order."""
        queue = self._orders.unranked()
        return self._part(queue, start, limit) if queue else _NOTHING

    def _part(self, queue: Queue, start: int, limit: int) -> Json:
        start = max(0, start)
        chosen = queue.ranking[start : start + min(max(0, limit), MAX_ITEMS)]
        triples = self.dataset.known([item.key for item in chosen])
        rows = [
            {**self._row(triples[item.key]), "doubt": item.doubt, "reasons": item.reasons}
            for item in chosen
            if item.key in triples
        ]
        return {"total": len(queue.ranking), "start": start, "counts": queue.counts, "items": rows, "waiting": None}

    def close(self) -> None:
        """End what runs in the background for the page."""
        self._orders.stop()

    def found(self) -> Json:
        """Return about how many triples check has found something so far, and whether it is done."""
        if not self._findings:
            return {"done": True, "number": 0}
        self._findings.wait(PATIENCE)
        return {"done": self._findings.is_complete, "number": len(self._findings.keys())}

    def triple(self, key: str) -> Triple:
        """Return a triple by the text of an address.

        Raises:
            KeyError: there is none.
        """
        known = self.dataset.known([messages.key(key)])
        return known[key]

    def revision(self, key: str) -> int:
        """Return the revision of a triple; see segkit.dataset.relabel.

        Raises:
            KeyError: there is none.
        """
        return self.triple(key).edits.revision

    def details(self, key: str) -> Json:
        """Return everything about one triple but its pictures.

        Raises:
            KeyError: there is none.
        """
        self.dataset.reload_info()
        return self._details(self.triple(key))

    def _details(self, triple: Triple) -> Json:
        palette, state = self.dataset.info.palette, relabel.state_of(triple)
        classes = [[palette.find(share.name).index, share.share, share.confidence] for share in triple.classes]
        more = {"classes": classes, "undoable": state.undoable, "redoable": state.redoable}
        stored = confidences.path(triple.folder, triple.key).exists()
        return {
            **self._row(triple), **more, "tokens": triple.tokens, "in_group": triple.group != triple.key,
            "confidence": stored, "known_classes": len(palette),
        }  # fmt: skip

    def _row(self, triple: Triple) -> Json:
        return {
            "id": triple.key,
            "rev": triple.edits.revision,
            "source": triple.source,
            "text": triple.text,
            "split": triple.split,
            "review": triple.review,
            "by": "person" if triple.by_person else triple.prompt.by,
            "flags": triple.problems,
            "width": triple.width,
            "height": triple.height,
            "photo": triple.photo_sha256[:12],
            "map": triple.map_sha256[:12],
            "badges": self._badges(triple),
        }

    def _badges(self, triple: Triple) -> list[tuple[str, str, str]]:
        """Return name, severity and explanation of everything that a person should know about a triple."""
        problems = self._findings.of(triple.key) if self._findings else ()
        badges: list[tuple[str, str, str]] = [(problem.rule, problem.severity, problem.message) for problem in problems]
        known = {rule for rule, _, _ in badges}
        badges += [(flag, "warning", FLAGS.get(flag, flag)) for flag in triple.problems if flag not in known]
        return badges + ([(ALIKE, "warning", _ALIKE)] if triple.group != triple.key else [])

    def relabel(self, change: messages.Relabel) -> Json:
        """Give pixels other classes, as one edit that can be undone.

        Raises:
            ConflictError: the triple has changed.
            UsageError: a run leaves the map, or a label is no class.
        """
        strokes = [painted.stroke() for painted in change.strokes]
        return self._changed(
            change.id,
            lambda: relabel.relabel(
                self.dataset, change.id, strokes, revision=change.rev, what=change.what, request=change.request
            ),
        )

    def undo(self, change: messages.OfMap) -> Json:
        """Take the last edit of a map back."""
        return self._stepped(relabel.undo, change)

    def redo(self, change: messages.OfMap) -> Json:
        """Repeat the edit of a map that was taken back last."""
        return self._stepped(relabel.redo, change)

    def _stepped(self, step: Callable[..., State], change: messages.OfMap) -> Json:
        return self._changed(
            change.id, lambda: step(self.dataset, change.id, revision=change.rev, request=change.request)
        )

    def set_prompt(self, change: messages.SetPrompt) -> Json:
        """Set a prompt that a person wrote."""
        return self._changed(
            change.id,
            lambda: decisions.set_prompt(
                self.dataset, change.id, change.text, revision=change.rev, count=self._counter.count
            ),
        )

    def decide(self, change: messages.Decide) -> Json:
        """Accept a triple, leave it out, or open it again."""
        return self._changed(
            change.id, lambda: decisions.decide(self.dataset, change.id, change.review, revision=change.rev)
        )

    def move(self, change: messages.Move) -> Json:
        """Move a triple, with its group, to another split."""
        moved: list[str] = []

        def move() -> None:
            moved.extend(decisions.move(self.dataset, change.id, change.split, revision=change.rev))

        return {**self._changed(change.id, move), "moved": moved}

    def _changed(self, key: str, change: Callable[[], State | None]) -> Json:
        with self._writing:
            before = self.triple(key)
            change()
            after = self.triple(key)
            self._orders.note(key, before.review, after.review)
        return self._details(after)

    def classes_of(self, selection: messages.Selection) -> Json:
        """Return what a bulk change could change, from the records.

        Returns:
            "classes": label, number of triples that have it, and its mean share of their maps; the most frequent first.
        """
        shares: dict[int, list[float]] = {}
        for triple in self.dataset.known(selection.ids).values():
            for label, share in self._shares(triple):
                shares.setdefault(label, []).append(share)
        means = [[label, len(values), sum(values) / len(values)] for label, values in shares.items()]
        return {"classes": sorted(means, key=lambda row: (-row[1], -row[2]))}

    def _shares(self, triple: Triple) -> Iterator[tuple[int, float]]:
        """Yield the classes of a map, and unlabelled, with their shares."""
        palette = self.dataset.info.palette
        yield from ((palette.find(share.name).index, share.share) for share in triple.classes)
        unlabelled = 1 - sum(share.share for share in triple.classes)
        if unlabelled > _ROUNDED:
            yield UNLABELLED, unlabelled

    def relabel_many(self, change: messages.BulkRelabel) -> Json:
        """Replace one class by another in several triples; one undo takes all of it back."""
        with self._writing:
            bulk = relabel.relabel_many(self.dataset, list(change.ids), change.old, change.new)
        return {"changed": bulk.keys, "token": bulk.token}

    def undo_bulk(self, change: messages.BulkUndo) -> Json:
        """Take a bulk change back, except in maps that were edited since."""
        with self._writing:
            bulk = relabel.undo_bulk(self.dataset, change.token)
        return {"changed": bulk.keys, "kept": bulk.kept}

    def decide_many(self, change: messages.BulkDecide) -> Json:
        """Decide on several triples; those that have changed since the page showed them are not touched."""
        changed, conflicts = [], []
        for item in change.items:
            try:
                self.decide(messages.Decide(item.id, item.rev, change.review))
                changed.append(item.id)
            except ConflictError:
                conflicts.append(item.id)
        return {"changed": changed, "conflicts": conflicts}

    def prepare(self, coming: messages.Prepare) -> Json:
        """Get a triple ready: its map for the first edit, its photo for clicks if there is a network for them."""
        triple = self.triple(coming.id)
        saving.prepare(self.dataset, triple)
        if self._networks.assist:
            self._networks.assist.prepare(triple)
        return {}

    def assist(self, click: messages.Click) -> Json:
        """Return the pixels of the thing that points describe, as runs.

        Raises:
            UsageError: there is no network for that.
        """
        if not self._networks.assist:
            raise UsageError("Clicks need a network: run segkit review with --assist sam2.")
        return {"runs": self._networks.assist.runs(self.triple(click.id), click.points)}

    def draft(self, wanted: messages.Prepare) -> Json:
        """Return a suggestion for a triple's prompt; nothing is stored.

        Raises:
            UsageError: there is no captioner.
        """
        if not self._networks.drafting:
            raise UsageError("Drafts need a captioner: run segkit review with --captioner blip-base.")
        return {"text": self._networks.drafting.draft(self.triple(wanted.id))}

    def tokens(self, text: str) -> Json:
        """Return the length of a prompt in CLIP tokens."""
        return {"tokens": self._counter.count(text)}
