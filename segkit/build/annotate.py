"""One unit of work: photos become finished triples, not yet written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from msgspec.structs import replace
from PIL import Image

from segkit.build.intake import Candidate
from segkit.build.settings import BuildSettings
from segkit.build.tools import Drafter, Networks
from segkit.dataset import Dataset, prompts, splits
from segkit.dataset.prompts import Style
from segkit.dataset.triple import NOBODY, Prompt, Triple, digest, map_name, photo_name
from segkit.maps import codec
from segkit.maps.codec import ClassShare, Labels
from segkit.palette import Palette


@dataclass(frozen=True)
class Finished:
    """A triple with its pixels: the photo, and the labels that become its control map."""

    triple: Triple
    photo: Image.Image
    labels: Labels
    palette: Palette

    def photo_bytes(self) -> bytes:
        """Return the photo's file: JPEG quality 95 4:4:4, or PNG, as the triple's name says; no EXIF, no profile."""
        buffer = BytesIO()
        if self.triple.file_name.endswith(".jpg"):
            self.photo.save(buffer, "JPEG", quality=95, subsampling=0)
        else:
            self.photo.save(buffer, "PNG", compress_level=4)
        return buffer.getvalue()

    def map_bytes(self) -> bytes:
        """Return the control map's file, an indexed PNG."""
        return codec.encode(self.labels, self.palette)


def finish(
    candidates: Sequence[Candidate],
    tools: Networks,
    settings: BuildSettings,
    shares: dict[str, float],
) -> Iterator[list[Finished]]:
    """Segment and caption photos, batch by batch; only photos of one size share a batch.

    Args:
        candidates: photos of any sizes.
        tools: the networks.
        settings: how confident pixels must be, how prompts are made, how photos are stored.
        shares: held-out share by split.
    """
    style, table, drafting = settings.style(), tools.palette, tools.drafting
    for batch in _same_size(candidates, tools.batch):
        images = [candidate.photo.image for candidate in batch]
        segmentations = tools(images)
        captions = drafting(images) if drafting else [""] * len(batch)
        finished = []
        for candidate, found, caption in zip(batch, segmentations, captions, strict=True):
            labels, classes = codec.summarize(found.labels, found.confidence, table, settings.min_confidence)
            triple = _triple(candidate, classes, splits.assign(candidate.group, shares), settings.photo_format)
            if drafting:
                triple = with_draft(triple, caption, drafting, style)
            finished.append(Finished(triple, candidate.photo.image, labels, table))
        yield finished


def _same_size(candidates: Sequence[Candidate], batch: int) -> Iterator[list[Candidate]]:
    by_size: dict[tuple[int, int], list[Candidate]] = {}
    for candidate in candidates:
        by_size.setdefault(candidate.photo.image.size, []).append(candidate)
    for same in by_size.values():
        for start in range(0, len(same), batch):
            yield same[start : start + batch]


def _triple(candidate: Candidate, classes: tuple[ClassShare, ...], split: str, photo_format: str) -> Triple:
    return Triple(
        file_name=photo_name(candidate.key, "." + photo_format),
        conditioning_image_file_name=map_name(candidate.key),
        text="",
        key=candidate.key,
        source=candidate.source,
        sha256=candidate.sha256,
        phash=f"{candidate.phash:016x}",
        width=candidate.photo.image.width,
        height=candidate.photo.image.height,
        geometry=candidate.photo.geometry,
        classes=classes,
        tokens=0,
        prompt=NOBODY,
        split=split,
        group=candidate.group,
        review="open",
        problems=(),
    )


def with_draft(triple: Triple, caption: str, drafting: Drafter, style: Style) -> Triple:
    """Return the triple with a drafted prompt: composed, counted, cut where too long, flagged."""
    text, tokens, problems = prompts.draft(caption, triple.classes, style, drafting.count)
    by = Prompt("model", drafting.model, drafting.revision, human=False, digest=digest(text))
    return replace(triple, text=text, tokens=tokens, problems=problems, prompt=by)


def record_models(dataset: Dataset, identities: dict[str, dict[str, str]]) -> None:
    """Note in the dataset which networks worked on it last, by role. Needs the lock."""
    info = dataset.info
    models = {**info.models, **identities}
    if models != info.models:
        dataset.save_info(replace(info, models=models))
