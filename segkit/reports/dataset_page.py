"""A dataset as one self-contained HTML page: statistics and a sample of triples."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from PIL.Image import Resampling

from segkit import storage
from segkit.dataset import Dataset, doubt, prompts
from segkit.dataset.stats import Summary, summarize
from segkit.dataset.triple import Triple
from segkit.photos import REASONS
from segkit.reports import page

SHEET = 60
"""Maximum number of triples on the page, evenly spread over the dataset."""

THUMBNAIL = 240
"""Longer side of a thumbnail in pixels."""

_LARGEST_CLASSES = 15

DOUBTFUL = 12
"""Maximum number of most doubtful triples on the page."""


@dataclass(frozen=True)
class _Sample:
    triple: Triple
    pictures: list[page.Picture]
    classes: str = ""
    error: str = ""
    why: str = ""


@dataclass(frozen=True)
class _ClassRow:
    name: str
    color: str
    share: float


def write(dataset: Dataset) -> Path:
    """Write the page to .segkit/report.html. The same dataset gives the same bytes.

    Returns:
        The path of the page.

    Raises:
        StorageError: the page cannot be written, for example because the disk is full.
    """
    summary = summarize(dataset)
    html = page.render(
        "dataset.html",
        name=dataset.folder.resolve().name,
        summary=summary,
        palette=dataset.info.palette,
        models=[(role, model["name"]) for role, model in sorted(dataset.info.models.items())],
        classes=list(_class_rows(dataset, summary)),
        flag_meanings=prompts.FLAGS,
        reason_meanings=REASONS,
        samples=list(_samples(dataset, summary.triples)),
    )
    path = dataset.hidden / "report.html"
    storage.write(path, html.encode())
    return path


def _spread(dataset: Dataset, total: int) -> list[Triple]:
    step = max(1, -(-total // SHEET))
    return [triple for index, triple in enumerate(dataset.triples()) if index % step == 0]


def _class_rows(dataset: Dataset, summary: Summary) -> Iterator[_ClassRow]:
    colors = {swatch.name: swatch.hex for swatch in dataset.info.palette}
    for name, share in list(summary.classes.items())[:_LARGEST_CLASSES]:
        yield _ClassRow(name, colors.get(name, "#000"), share)


def _samples(dataset: Dataset, total: int) -> Iterator[_Sample]:
    """Yield the most doubtful triples, and then others."""
    doubtful = doubt.of_dataset(dataset, DOUBTFUL)
    for item in doubtful:
        yield replace(_sample(dataset, item.triple), why=item.why)
    shown = {item.triple.key for item in doubtful}
    for triple in _spread(dataset, total):
        if triple.key not in shown:
            yield _sample(dataset, triple)


def _sample(dataset: Dataset, triple: Triple) -> _Sample:
    try:
        photo, control_map, overlay = _thumbnails(dataset, triple)
    except Exception as error:  # Pillow raises exceptions of any type on damaged files
        return _Sample(triple, [], error=str(error))
    pictures = [
        page.embed(photo, "photo"),
        page.embed(control_map, "control map", "PNG", "map"),
        page.embed(overlay, "overlay"),
    ]
    classes = ", ".join(f"{share.name} {share.share:.0%}" for share in triple.classes[:5] if share.share >= 0.005)
    return _Sample(triple, pictures, classes)


def _thumbnails(dataset: Dataset, triple: Triple) -> tuple[Image.Image, Image.Image, Image.Image]:
    with Image.open(dataset.folder / triple.file_name) as photo_file:
        photo = photo_file.convert("RGB")
    with Image.open(dataset.folder / triple.conditioning_image_file_name) as map_file:
        control_map = map_file.copy()
    scale = THUMBNAIL / max(photo.size)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    photo = photo.resize(size, Resampling.LANCZOS)
    control_map = control_map.resize(size, Resampling.NEAREST)
    overlay = Image.blend(photo, control_map.convert("RGB"), 0.5)
    return photo, control_map, overlay
