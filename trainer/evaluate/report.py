"""DIR/report.html of an evaluation: tables, classes, confusions, and the best and worst maps side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkit import storage
from segkit.maps import codec
from segkit.maps.bootstrap import Estimate
from segkit.palette import UNLABELLED, Palette
from segkit.reports import contact_sheet, page
from trainer.evaluate import judging
from trainer.evaluate.judging import Exhibit
from trainer.evaluate.plan import Scene
from trainer.evaluate.scores import METRICS, Results, Score

REPORT, SAMPLES = "report.html", "samples.png"

SAMPLED = 6
"""Maps on the contact sheet."""

EXTREMES = 4
"""Maps shown of the best, and of the worst."""

CLASSES = 40
"""Classes with bars, those with the most pixels; per-class.csv has all of them."""

WORST, LEAST_SHARE, CONFUSED = 8, 0.002, 4
"""Classes whose confusions are listed, the share of the pixels that they have at least, and confusions of each."""

_SIDE = 240
"""Longer side of a picture on the page."""

_BASE, _PHOTOS, _CONTROLNETS = "#c8862a", "#8a8a8a", ("#2a78c8", "#2f9e62", "#8e5bb5", "#c2503f", "#4aa3a8")
"""Colours of bars."""


@dataclass(frozen=True)
class Shown:
    """What can be shown of a map.

    Attributes:
        scene: its map and prompt.
        exhibits: the first picture of each contender, and last the photo, in the order of the scores.
    """

    scene: Scene
    exhibits: Sequence[Exhibit]


@dataclass(frozen=True)
class Bar:
    """IoU of a class in a contender's pictures: text, and percentages for a bar and its interval."""

    name: str
    color: str
    text: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassRow:
    """A class with its bars."""

    name: str
    color: str
    share: float
    maps: int
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Cell:
    """A picture, what the judge saw in it, and their score; the latter are missing for the control map."""

    picture: page.Picture
    seen: page.Picture | None
    score: str


@dataclass(frozen=True)
class PictureRow:
    """A map with all its pictures."""

    prompt: str
    name: str
    cells: Sequence[Cell]


def write(
    folder: Path, results: Results, shown: Sequence[Shown], palette: Palette, facts: Mapping[str, Any]
) -> None:  # fmt: skip
    """Write the page and a contact sheet.

    Args:
        folder: of the evaluation.
        results: the scores.
        shown: each map, in the order of the scores.
        palette: of the maps.
        facts: "judge", "protocol" (its name), "notes" (sentences), and "options" (pairs of name and value).

    Raises:
        StorageError: the disk is full.
    """
    best = results.ranked[0]
    order = np.argsort(best.per_map["miou"], kind="stable").tolist()  # the worst first
    worst = order[: min(EXTREMES, len(order) // 2)]
    groups = [("best", order[::-1][:EXTREMES]), ("worst", worst)]
    html = page.render(
        "evaluation.html",
        name=folder.resolve().name,
        results=results,
        metrics=METRICS,
        best=best.name,
        classes=list(_class_rows(results, palette)),
        confusions=list(_confusions(best, results, palette)),
        columns=["control map", *(score.name for score in results.scores)],
        groups=[
            (title, [_picture_row(shown[place], results, place, palette) for place in row]) for title, row in groups
        ],
        **facts,
    )
    contact_sheet.save(_sheet(results, shown[:SAMPLED], palette), folder / SAMPLES)
    storage.write(folder / REPORT, html.encode())


def _class_rows(results: Results, palette: Palette) -> Iterator[ClassRow]:
    colors = {swatch.name: swatch.hex for swatch in palette}
    for name, support in list(results.support.items())[:CLASSES]:
        bars = [
            _bar(score.name, color, score.classes[name])
            for score, color in zip(results.scores, _bar_colors(results.scores), strict=True)
        ]
        yield ClassRow(name, colors[name], support.share, support.maps, bars)


def _bar(name: str, color: str, iou: Estimate) -> Bar:
    return Bar(name, color, str(iou), 100 * iou.value, 100 * iou.low, 100 * iou.high)


def _bar_colors(scores: Sequence[Score]) -> list[str]:
    fixed = {"base": _BASE, "photos": _PHOTOS}
    return [fixed.get(score.kind, _CONTROLNETS[place % len(_CONTROLNETS)]) for place, score in enumerate(scores)]


def _confusions(best: Score, results: Results, palette: Palette) -> Iterator[tuple[str, str, str]]:
    """Yield the classes that the best ControlNet draws worst: name, IoU, and what the judge saw instead."""
    large = [name for name, support in results.support.items() if support.share >= LEAST_SHARE]
    indices = {swatch.name: swatch.index for swatch in palette}
    for name in sorted(large, key=lambda name: best.classes[name].value)[:WORST]:
        seen = best.confusion[indices[name]]
        others = [
            index for index in np.argsort(-seen, kind="stable").tolist() if index != indices[name] and seen[index]
        ]
        texts = [
            f"{'nothing' if index == UNLABELLED else palette[index].name} {seen[index] / seen.sum():.0%}"
            for index in others[:CONFUSED]
        ]
        yield name, f"{best.classes[name].value:.3f}", ", ".join(texts)


def _picture_row(shown: Shown, results: Results, place: int, palette: Palette) -> PictureRow:
    scene = shown.scene
    control_map = _embedded(codec.paint(scene.truth(palette), palette), "control map")
    cells = [Cell(control_map, None, "")]
    for exhibit, score in zip(shown.exhibits, results.scores, strict=True):
        picture = judging.opened(exhibit.picture.read_bytes(), exhibit.size)
        seen = codec.paint(judging.labels(exhibit, palette), palette)
        value = f"mIoU {score.per_map['miou'][place]:.2f}"
        cells.append(Cell(_embedded(picture, score.name), _embedded(seen, "what the judge sees"), value))
    return PictureRow(scene.request.prompt, scene.request.name, cells)


def _embedded(image: Image.Image, alt: str) -> page.Picture:
    scale = min(1.0, _SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if image.mode == "P":
        return page.embed(image.resize(size, Image.Resampling.NEAREST), alt, "PNG", "map")
    return page.embed(image.resize(size, Image.Resampling.LANCZOS), alt)


def _sheet(results: Results, shown: Sequence[Shown], palette: Palette) -> Image.Image:
    """Return a row for each map: the map, the photo, the base alone, the ControlNets."""
    kinds = ("photos", "base", "controlnet")
    order = sorted(range(len(results.scores)), key=lambda place: kinds.index(results.scores[place].kind))
    strips = []
    for one in shown:
        pictures = [judging.opened(exhibit.picture.read_bytes(), exhibit.size) for exhibit in one.exhibits]
        control_map = codec.paint(one.scene.truth(palette), palette)
        strips.append(
            contact_sheet.strip([control_map, *(pictures[place] for place in order)], one.scene.request.prompt)
        )
    titles = ["control map", *(results.scores[place].name for place in order)]
    return contact_sheet.sheet(strips, titles=titles)
