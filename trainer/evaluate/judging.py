"""What a segmenter sees in pictures: a label map of each, kept beside it, so that no picture is judged twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit import photos, storage
from segkit.errors import MapError
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.models import device, hub
from segkit.models.segment import ROLE, NeuralSegmenter, Segmenter
from segkit.palette import Palette
from segkit.progress import Progress
from segkit.words import listed
from trainer.checkpoints import rewards
from trainer.evaluate import workers
from trainer.evaluate.settings import EvaluateSettings
from trainer.sample import recipes

PHOTOS = "photos"
"""Folder of the judged photos."""


@dataclass(frozen=True)
class Judge:
    """A segmenter that looks at pictures.

    Attributes:
        segment: maps RGB pictures of one size to segmentations in the palette's classes.
        identity: name, revision, hash of the weights and precision, as Info.models records segmenters; and the size at
            which it looks at pictures, if that is not its own.
    """

    segment: Segmenter
    identity: dict[str, str]


@dataclass(frozen=True)
class Exhibit:
    """A picture to judge.

    Attributes:
        picture: file of the picture or photo.
        size: width and height at which it is judged.
        judged: file of the judge's label map.
    """

    picture: Path
    size: tuple[int, int]
    judged: Path


def load(settings: EvaluateSettings, palette: Palette) -> Judge:
    """Load the judge.

    Raises:
        ModelError: it is missing or damaged, or its labels do not fit the palette.
        UsageError: the device is not available, or does not support the precision.
    """
    resolved = device.resolve(workers.device(settings.device), settings.precision)
    hub.find(settings.judge, ROLE, "judge")
    segmenter = NeuralSegmenter(settings.judge, palette, resolved, settings.judge_size)
    side = {"size": str(settings.judge_size)} if settings.judge_size else {}
    return Judge(segmenter, segmenter.source.identity | {"precision": resolved.precision} | side)


def conflict(judge: Judge, drew: Mapping[str, str]) -> str:
    """Return that the judge also drew the maps, as a sentence; "" if it did not.

    Args:
        judge: the segmenter.
        drew: what drew the maps, as Info.models records it, an ensemble as tools.Networks; empty if that is unknown.
    """
    weights, names, revisions = (drew.get(key, "").split(" + ") for key in ("weights", "name", "revision"))
    same_weights = judge.identity.get("weights") in set(weights) - {""}
    identity = judge.identity.get("name", ""), judge.identity.get("revision", "")
    if not (same_weights or (identity[0] and identity in zip(names, revisions, strict=False))):
        return ""
    return (
        f"The judge, {judge.identity['name']}, also drew the dataset's maps: it repeats its own mistakes, which "
        "flatters pictures and photos alike. Choose a judge of another kind."
    )


def reward_conflict(judge: Judge, controlnets: Sequence[str]) -> str:
    """Return which ControlNets were trained against the judge, as a sentence; "" if none is known to be.

    Args:
        judge: the segmenter.
        controlnets: their names, as for load.load_controlnet.

    Raises:
        ModelError: a run.json is damaged.
    """
    return trained_against(judge, {name: rewards.of_controlnet(name) for name in controlnets})


def trained_against(judge: Judge, rewards_of: Mapping[str, Sequence[str]]) -> str:
    """Return which ControlNets were trained against the judge, as a sentence; "" if none was.

    Args:
        judge: the segmenter.
        rewards_of: by the name of each ControlNet, the hashes of the weights of the segmenters that gave it a reward.
    """
    weights = judge.identity.get("weights")
    flattered = [name for name, rewarding in rewards_of.items() if weights and weights in rewarding]
    if not flattered:
        return ""
    return (
        f"The judge, {judge.identity['name']}, also gave the reward in the training of {listed(flattered)}, which "
        "flatters the pictures: they were trained to please it. Choose a judge of another kind."
    )


def judge_all(exhibits: Sequence[Exhibit], judge: Judge, palette: Palette, progress: Progress) -> None:
    """Let the judge look at every picture that it has not seen yet.

    It sees them one at a time: what it sees in a picture must not depend, even by a rounding error, on which others
    were left when an evaluation was resumed.

    Args:
        exhibits: the pictures.
        judge: the segmenter.
        palette: of the label maps.
        progress: called with ("judging", done, total).

    Raises:
        PhotoError: a photo cannot be read.
        ModelError: the network returned NaN.
        StorageError: the disk is full.
    """
    for done, exhibit in enumerate(exhibits):
        progress("judging", done, len(exhibits))
        data = exhibit.picture.read_bytes()
        recipe = _recipe(data, exhibit, judge, palette)
        if recipes.read(exhibit.judged) != recipe:
            (segmentation,) = judge.segment([opened(data, exhibit.size)])
            painted = codec.paint(segmentation.labels, palette)
            storage.write(exhibit.judged, recipes.encode(painted, recipe))
    if exhibits:  # a process may have no share
        progress("judging", len(exhibits), len(exhibits))


def _recipe(data: bytes, exhibit: Exhibit, judge: Judge, palette: Palette) -> dict[str, Any]:
    return {
        "picture_sha256": storage.sha256(data), "size": list(exhibit.size), "judge": judge.identity,
        "palette_hash": palette.hash,
    }  # fmt: skip


def opened(data: bytes, size: tuple[int, int]) -> Image.Image:
    """Return an encoded photo or picture, RGB, upright, in the size at which it is judged.

    Raises:
        PhotoError: it cannot be decoded.
    """
    image = photos.open_upright(data)
    return image if image.size == size else image.resize(size, Resampling.LANCZOS)


def labels(exhibit: Exhibit, palette: Palette) -> Labels:
    """Return what the judge saw, (H, W) class indices.

    Raises:
        MapError: the judge's map is missing or damaged.
    """
    try:
        with Image.open(exhibit.judged, formats=["PNG"]) as image:
            seen, off = codec.read(image, palette)
    except OSError as error:
        raise MapError(f"{exhibit.judged} cannot be read ({error}). Run the same evaluation again.") from None
    if off or seen.shape != exhibit.size[::-1]:
        raise MapError(f"{exhibit.judged} is not what the judge saw. Delete it, and run the same evaluation again.")
    return np.asarray(seen)
