"""Turn photos into triples: segment, caption, assemble. Nothing is written here."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from msgspec.structs import replace
from PIL import Image

from segkit import storage
from segkit.build import looks
from segkit.build.arrival import Candidate
from segkit.build.settings import BuildSettings
from segkit.build.tools import Drafter, Networks
from segkit.dataset import Dataset, history, prompts
from segkit.dataset.prompts import Style
from segkit.dataset.triple import NOBODY, SPLITS, UNDRAWN, Prompt, Triple, digest, map_name, photo_name
from segkit.maps import codec, confidence, files
from segkit.maps.codec import ClassShare, Labels
from segkit.palette import Palette
from segkit.photos.stored import encode_photo


@dataclass(frozen=True)
class Finished:
    """A triple with its pixels.

    Attributes:
        triple: the record; its hashes of the stored files are still empty.
        photo: the RGB photo as it will be stored.
        labels: (H, W) uint8 palette indices of the control map; 255 = unlabelled.
        palette: the classes and their colours.
        stored: bytes of files to store as they are, by name in the dataset, before photo and map; they may be photo and
            map themselves, of another dataset of segkit.
        confidence: what is stored of the segmenter's confidence, see maps.confidence; b"" for nothing.
    """

    triple: Triple
    photo: Image.Image
    labels: Labels
    palette: Palette
    stored: Mapping[str, bytes] = field(default_factory=dict)
    confidence: bytes = b""

    def photo_bytes(self) -> bytes:
        """Encode the photo in the format of its file name, unless its bytes are known."""
        if data := self.stored.get(self.triple.file_name):
            return data
        return encode_photo(self.photo, self.triple.file_name.rpartition(".")[2])

    def map_bytes(self) -> bytes:
        """Encode the control map as an indexed PNG, unless its bytes are known."""
        return self.stored.get(self.triple.conditioning_image_file_name) or codec.encode(self.labels, self.palette)

    def encoded(self) -> "Encoded":
        """Encode everything that is stored."""
        photo, control_map = self.photo_bytes(), self.map_bytes()
        triple = replace(self.triple, photo_sha256=storage.sha256(photo), map_sha256=storage.sha256(control_map))
        names = triple.file_name, triple.conditioning_image_file_name
        others = {name: data for name, data in self.stored.items() if name not in names}
        return Encoded(triple, photo, control_map, others, self.confidence)


@dataclass(frozen=True)
class Encoded:
    """A triple as it is stored.

    Attributes:
        triple: the record, with the hashes of the files.
        photo, control_map: the bytes of its files; b"" if a person removed the triple with its files.
        others: bytes of further files by name in the dataset, which are stored before them.
        confidence: see Finished.
    """

    triple: Triple
    photo: bytes
    control_map: bytes
    others: Mapping[str, bytes] = field(default_factory=dict)
    confidence: bytes = b""

    def encoded(self) -> "Encoded":
        """Return itself; see Finished.encoded."""
        return self

    def decoded(self, palette: Palette) -> Finished:
        """Decode the pictures; the photo keeps its bytes."""
        with Image.open(BytesIO(self.photo), formats=("JPEG", "PNG")) as image:
            image.load()
        labels, _ = codec.read(files.decode(BytesIO(self.control_map)), palette)
        stored = {**self.others, self.triple.file_name: self.photo}
        return Finished(self.triple, image, labels, palette, stored, self.confidence)


def finish(
    candidates: Sequence[Candidate],
    tools: Networks,
    settings: BuildSettings,
    style: Style,
) -> Iterator[list[Finished]]:
    """Segment and caption photos in batches of one size.

    Args:
        candidates: photos of any sizes.
        tools: the networks, the palette and the batch size.
        settings: min_confidence, photo_format, store_confidence and shard are read.
        style: prefix, suffix and template of the prompts.

    Yields:
        The finished triples of each batch.
    """
    palette, drafting = tools.palette, tools.drafting
    for batch in _same_size(candidates, tools.batch):
        images = [candidate.image for candidate in batch]
        segmentations = tools(images)
        captions = drafting(images) if drafting else [""] * len(batch)
        finished = []
        for candidate, segmentation, caption in zip(batch, segmentations, captions, strict=True):
            labels, classes = codec.summarize(
                segmentation.labels, segmentation.confidence, palette, settings.min_confidence
            )
            triple = new_triple(candidate, classes, settings.photo_format)
            if drafting:
                triple = with_draft(triple, caption, drafting, style)
            stored = confidence.encode(segmentation.confidence) if settings.store_confidence else b""
            look = _look(candidate) if settings.shard else {}
            finished.append(Finished(triple, candidate.image, labels, palette, look, stored))
        yield finished


def _look(candidate: Candidate) -> dict[str, bytes]:
    """Return the file by which a photo of a slice is compared with those of other slices."""
    return {looks.name_of(candidate.key): looks.encode(candidate.opened)}


def rebuilt(finished: Finished, lost: Triple) -> Finished:
    """Return a triple built again with all that was decided about the one whose files are lost."""
    triple, labels = history.restored(lost.rebuilt(finished.triple), lost, finished.labels, finished.palette)
    return dataclasses.replace(finished, triple=triple, labels=labels)


def _same_size(candidates: Sequence[Candidate], batch: int) -> Iterator[list[Candidate]]:
    by_size: dict[tuple[int, int], list[Candidate]] = {}
    for candidate in candidates:
        by_size.setdefault(candidate.image.size, []).append(candidate)
    for group in by_size.values():
        for start in range(0, len(group), batch):
            yield group[start : start + batch]


def new_triple(candidate: Candidate, classes: tuple[ClassShare, ...], photo_format: str) -> Triple:
    """Return the triple of a photo, without a prompt or a split.

    Args:
        candidate: the photo.
        classes: of its map.
        photo_format: "jpg" or "png".
    """
    return Triple(
        file_name=photo_name(candidate.key, "." + photo_format),
        conditioning_image_file_name=map_name(candidate.key),
        text="",
        key=candidate.key,
        source=candidate.source,
        sha256=candidate.sha256,
        phash=f"{candidate.phash:016x}",
        width=candidate.image.width,
        height=candidate.image.height,
        geometry=candidate.opened.geometry,
        classes=classes,
        tokens=0,
        prompt=NOBODY,
        split=SPLITS[0],
        group=candidate.group,
        review="open",
        problems=(),
        drawn=UNDRAWN,
    )


def with_draft(triple: Triple, caption: str, drafting: Drafter, style: Style) -> Triple:
    """Return the triple with a prompt drafted from a caption.

    Args:
        triple: the triple; its classes can be part of the prompt.
        caption: the captioner's output.
        drafting: counts tokens, and is recorded as the author.
        style: prefix, suffix and template.

    Returns:
        A copy with text, token count, problems (such as "prompt-cut") and authorship.
    """
    text, tokens, problems = prompts.draft(caption, triple.classes, style, drafting.count)
    author = Prompt("model", drafting.model, drafting.revision, human=False, digest=digest(text), caption=caption)
    return replace(triple, text=text, tokens=tokens, problems=problems, prompt=author)


def record_models(dataset: Dataset, identities: dict[str, dict[str, str]]) -> None:
    """Record the networks that last worked on the dataset, by role. The caller must hold the dataset's lock."""
    info = dataset.info
    models = {**info.models, **identities}
    if models != info.models:
        dataset.save_info(replace(info, models=models))
