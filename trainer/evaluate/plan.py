"""What an evaluation draws: the same maps, prompts and noise with each ControlNet and with the base alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segkit import storage
from segkit.dataset import Dataset, emptiness
from segkit.dataset.triple import Triple
from segkit.errors import UsageError
from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.words import count, quote
from trainer.checkpoints import runs
from trainer.evaluate import workers
from trainer.evaluate.settings import EvaluateSettings
from trainer.sample import controls, grid, requests, sources
from trainer.sample.requests import DrawRequest
from trainer.settings import FRESH, DrawingSettings, GenerateSettings

Kind = Literal["controlnet", "base", "photos"]

FEW = 30
"""Maps below which a percentile interval is noticeably too narrow."""

_BASE = ("base", "tokenizer", "vae", "prediction")
"""Settings that name the base."""

_INSTEAD = "a run of segkit train, a file or a folder"


@dataclass(frozen=True)
class Scene:
    """A map to draw.

    Attributes:
        request: its control map and prompt; the name is the triple's key.
        photo: file of the photo.
        size: width and height of its pictures.
    """

    request: DrawRequest
    photo: Path
    size: tuple[int, int]

    def truth(self, palette: Palette) -> Labels:
        """Return the map in the size of its pictures, (H, W) class indices."""
        return np.ascontiguousarray(controls.pixels(self.request, palette, self.size))


@dataclass(frozen=True)
class Contender:
    """What pictures are drawn with.

    Attributes:
        name: in tables and messages.
        kind: a ControlNet, or a base without control.
        folder: of its pictures within the evaluation.
        settings: networks and sampling.
    """

    name: str
    kind: Kind
    folder: str
    settings: GenerateSettings


@dataclass(frozen=True)
class Split:
    """Which maps of a dataset are drawn; as a string in words, such as "val, 6 of 100 maps".

    Attributes:
        name: "train", "val", "test" or "all".
        drawn: number of its maps that are drawn.
        maps: number of its maps, rejected ones left out.
    """

    name: str
    drawn: int
    maps: int

    def __str__(self) -> str:
        return f"{self.name}, {self.drawn:,} of {count(self.maps, 'map')}"


@dataclass(frozen=True)
class Plan:
    """What an evaluation draws.

    Attributes:
        dataset: of the maps.
        palette: of the maps.
        split: which maps of the dataset.
        scenes: the maps.
        contenders: the ControlNets in their order, then the bases without control.
        notes: what a reader of the results should know, as sentences.
    """

    dataset: Dataset
    palette: Palette
    split: Split
    scenes: tuple[Scene, ...]
    contenders: tuple[Contender, ...]
    notes: tuple[str, ...]


def make(controlnets: Sequence[str], dataset: Path, palette_file: Path, settings: EvaluateSettings) -> Plan:
    """Plan an evaluation; maps, palettes and the names of networks are checked before anything slow begins.

    Args:
        controlnets: runs, files, folders or hub ids.
        dataset: folder of a dataset.
        palette_file: where the dataset's palette will be before anything is drawn.
        settings: of the evaluation.

    Raises:
        UsageError: a ControlNet is named twice or knows other colours, or there is no map to draw.
        DatasetError: the folder is not a dataset, has no triples, or is damaged.
        MapError: a map has off-palette pixels.
        ModelError: a network is unavailable.
    """
    if not controlnets or len(set(map(_place, controlnets))) < len(controlnets):
        raise UsageError(f"{', '.join(controlnets) or 'No ControlNet'}: expected ControlNets, each named once.")
    opened = Dataset.open(dataset)
    emptiness.require_triples(opened)
    palette = opened.info.palette
    drawn = [_drawing(name, palette_file, settings) for name in controlnets]
    notes = [_check_controlnet(one, palette) for one in drawn]
    triples, split = _triples(opened, settings)
    scenes = []
    for request, triple in zip(requests.of_triples(triples), triples, strict=True):
        size = controls.require_drawable(request, palette, settings.resolution)
        scenes.append(Scene(request, opened.folder / triple.file_name, size))
    names = _names(controlnets)
    contenders = [one for drawing, name in zip(drawn, names, strict=True) for one in _with_control(drawing, name)]
    notes += _notes(triples, settings)
    contenders += _without_control(drawn)
    return Plan(opened, palette, split, tuple(scenes), tuple(contenders), tuple(filter(None, notes)))


def _drawing(controlnet: str, palette_file: Path, settings: EvaluateSettings) -> GenerateSettings:
    """Return the settings for pictures of a ControlNet, completed by those of its training."""
    shared: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(DrawingSettings)}
    shared |= {"controlnet": controlnet, "palette": str(palette_file), "device": workers.device(settings.device)}
    source = sources.sources(GenerateSettings(**shared))
    shared |= {name: getattr(source, name) for name in _BASE}
    return GenerateSettings(**shared)


def _check_controlnet(drawing: GenerateSettings, palette: Palette) -> str:
    """Refuse a ControlNet that is unavailable or learned other colours; return which step of its run it is."""
    weights = sources.find_networks(drawing.base, drawing.vae, drawing.controlnet, _INSTEAD, drawing.controlnet_mode)
    path = Path(drawing.controlnet).expanduser()
    run = runs.containing(path) or path
    if (trained := run / "palette.csv").is_file():
        colors = [[(swatch.name, swatch.rgb) for swatch in table] for table in (Palette.load(trained), palette)]
        both = min(map(len, colors))  # the longer one may have further classes: a map that shows them is refused later
        if colors[0][:both] != colors[1][:both]:
            raise UsageError(
                f"{drawing.controlnet} was trained with another palette than the dataset's: it knows other colours. "
                "Evaluate it on a dataset with its own palette."
            )
    return weights.note if weights else ""


def _place(controlnet: str) -> str:
    """Return where a ControlNet is, however its path is written; a hub id as it is."""
    path = Path(controlnet).expanduser()
    return str(path.resolve()) if path.exists() else controlnet


def _names(controlnets: Sequence[str]) -> Sequence[str]:
    """Return short names: those of files and folders, unless two are equal."""
    short = [Path(name).name if Path(name).expanduser().exists() else name for name in controlnets]
    return short if len(set(short)) == len(short) else controlnets


def _with_control(drawing: GenerateSettings, name: str) -> Iterator[Contender]:
    for strength in drawing.scales:
        label = f", {grid.label(strength)}" if drawing.strengths else ""
        alone = replace(drawing, strengths="", strength=strength)
        yield Contender(name + label, "controlnet", _folder(drawing.controlnet + label), alone)


def _without_control(drawn: Sequence[GenerateSettings]) -> Iterator[Contender]:
    """Yield each base once. A fresh ControlNet takes part, with a strength of zero: it changes nothing."""
    bases = list(dict.fromkeys(tuple(getattr(one, name) for name in _BASE) for one in drawn))
    for values in bases:
        base = dict(zip(_BASE, values, strict=True))
        alone = replace(drawn[0], **base, controlnet=FRESH, controlnet_mode=None, strengths="", strength=0.0)
        named = " ".join(filter(None, (alone.base, alone.vae)))
        name = "base alone" if len(bases) == 1 else f"{named} alone"
        yield Contender(name, "base", _folder(f"base {named}"), alone)


def _folder(name: str) -> str:
    """Return the folder of a contender's pictures: readable, and unique whatever characters the name contains."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", Path(name).name).strip("-.")[:40]
    return f"{words}-{storage.sha256(name.encode())[:6]}"


def _triples(dataset: Dataset, settings: EvaluateSettings) -> tuple[list[Triple], Split]:
    """Return the triples to draw and their split.

    They are in the order of their keys, which are hashes, so the first are a random sample.
    """
    usable = [triple for triple in dataset.triples() if triple.review != "rejected"]
    split = settings.split or ("val" if any(triple.split == "val" for triple in usable) else "all")
    chosen = sorted((one for one in usable if split in (one.split, "all")), key=lambda triple: triple.key)
    if not chosen:
        raise UsageError(
            f"{dataset.folder} has no triple of the split {split}. Choose another split, or hold some out: "
            f"segkit build-dataset PHOTOS -o {quote(dataset.folder)} --split val=0.1"
        )
    drawn = chosen[: settings.limit or None]
    return drawn, Split(split, len(drawn), len(chosen))


def _notes(triples: Sequence[Triple], settings: EvaluateSettings) -> Iterator[str]:
    if not settings.split and triples[0].split != "val":
        yield "No triple is held out: the maps may be those that the ControlNet was trained on."
    by_person = sum(triple.map_by_person for triple in triples)
    accepted = sum(triple.review == "accepted" and not triple.map_by_person for triple in triples)
    if by_person or accepted:
        yield (
            f"Of {count(len(triples), 'map')}, {by_person:,} were drawn or corrected by a person, and {accepted:,} "
            "more were accepted."
        )
    if note := few(len(triples)):
        yield note


def few(maps: int) -> str:
    """Return that there are few maps, as a sentence; "" if there are enough."""
    return "" if maps >= FEW else f"{count(maps, 'map')} only: intervals from fewer than {FEW} maps are too narrow."
