"""New items become triples: missing maps are segmented, missing prompts drafted. Nothing is written here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec import structs

from segkit.build.annotate import Finished, finish, new_triple, with_draft
from segkit.build.arrival import Candidate
from segkit.build.settings import BuildSettings
from segkit.build.tools import Drafter, Networks
from segkit.dataset import history
from segkit.dataset.origin import Origin
from segkit.dataset.prompts import Style
from segkit.dataset.triple import IMPORTED, Triple
from segkit.imports.prompting import Prompts
from segkit.imports.reading import Incoming
from segkit.maps import codec
from segkit.palette import Palette


@dataclass(frozen=True)
class Assembler:
    """Turns items into finished triples.

    Attributes:
        palette: of the dataset.
        photo_format: "jpg" or "png".
        prompts: how texts become prompts.
        networks: segments photos without a map; None if all have one.
        drafting: drafts missing prompts; None leaves them empty.
        style: prefix, suffix and template of drafts.
    """

    palette: Palette
    photo_format: str
    prompts: Prompts
    networks: Networks | None
    drafting: Drafter | None
    style: Style

    def assemble(
        self, candidates: Sequence[Candidate], incoming: Mapping[int, Incoming], by_person: Mapping[int, bool],
        moved: Mapping[int, str],
    ) -> Iterator[Finished]:  # fmt: skip
        """Yield the triple of each photo, in order.

        Args:
            candidates: the photos.
            incoming: what was read of each, by position.
            by_person: whether persons drew the map of each, by position.
            moved: split of those that were moved into another than their own, by position.
        """
        bare = [candidate for candidate in candidates if incoming[candidate.position].labels is None]
        segmented = self._segmented(bare)
        finished = []
        for candidate in candidates:
            item = incoming[candidate.position]
            if item.record is not None:
                triple = self._restored(candidate, item, item.record)
            else:
                triple = segmented.get(candidate.position) or self._with_map(
                    candidate, item, by_person[candidate.position]
                )
                triple = replace(triple, triple=self._described(triple.triple, item))
            finished.append(_placed(triple, candidate, item, moved.get(candidate.position, "")))
        yield from self._drafted(finished)

    def _segmented(self, candidates: Sequence[Candidate]) -> dict[int, Finished]:
        if not candidates or self.networks is None:
            return {}
        settings = BuildSettings(photo_format="png" if self.photo_format == "png" else "jpg")
        by_key = {
            finished.triple.key: finished
            for batch in finish(candidates, self.networks, settings, self.style)
            for finished in batch
        }
        return {candidate.position: by_key[candidate.key] for candidate in candidates}

    def _with_map(self, candidate: Candidate, item: Incoming, by_person: bool) -> Finished:
        labels = item.labels
        assert labels is not None
        labels, classes = codec.summarize(labels, np.ones(labels.shape, np.float32), self.palette)
        triple = new_triple(candidate, classes, self.photo_format)
        if by_person:
            triple = structs.replace(triple, edits=structs.replace(triple.edits, map_by="person"))
        return Finished(triple, candidate.image, labels, self.palette)

    def _described(self, triple: Triple, item: Incoming) -> Triple:
        """Return a triple with its origin, its prompt and the split that came with it."""
        triple = structs.replace(self.prompts.with_text(triple, item.item), origin=item.origin)
        if split := item.item.split:
            triple = structs.replace(triple, split=split, drawn=IMPORTED)
        return triple

    def _restored(self, candidate: Candidate, item: Incoming, record: Triple) -> Finished:
        """Return a triple that segkit wrote, exactly as it was, but for a text that somebody changed in an export."""
        assert item.labels is not None
        text = self.prompts.text(item.item)
        if text and text != " ".join(record.text.split()):
            record = self.prompts.with_text(record, item.item)
        record = structs.replace(record, group=candidate.group)
        return Finished(record, candidate.image, item.labels, self.palette, item.stored)

    def _drafted(self, finished: Sequence[Finished]) -> Iterator[Finished]:
        """Yield triples, with a draft for each that has no prompt."""
        empty = [place for place, one in enumerate(finished) if not one.triple.text]
        captions: dict[int, str] = {}
        if self.drafting and empty:
            captions = dict(zip(empty, self.drafting([finished[place].photo for place in empty]), strict=True))
        for place, one in enumerate(finished):
            if self.drafting and place in captions:
                one = replace(one, triple=with_draft(one.triple, captions[place], self.drafting, self.style))
            yield one


def _placed(finished: Finished, candidate: Candidate, item: Incoming, moved: str) -> Finished:
    """Return a triple in the split that it was moved to, or with all decisions of the one whose files are lost."""
    triple, labels = finished.triple, finished.labels
    if moved:
        triple = structs.replace(triple, split=moved, drawn=IMPORTED)
    if candidate.lost is None:
        return replace(finished, triple=triple)
    new = candidate.lost.rebuilt(triple)
    new = structs.replace(new, origin=_origin(item, candidate.lost))
    new, labels = history.restored(new, candidate.lost, labels, finished.palette)
    if item.record is None and triple.map_by_person and not new.map_by_person:
        new = structs.replace(new, edits=structs.replace(new.edits, map_by="person"))
    # what the dataset's own history shows counts, not that of the source
    kept = (triple.file_name, *((triple.conditioning_image_file_name,) if labels is finished.labels else ()))
    stored = {name: data for name, data in finished.stored.items() if name in kept}
    return replace(finished, triple=new, labels=labels, stored=stored)


def _origin(item: Incoming, lost: Triple) -> Origin:
    return item.origin if item.origin.layout else lost.origin
