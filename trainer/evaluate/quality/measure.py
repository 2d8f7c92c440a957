"""Measure the quality of drawn pictures: vectors are computed once and stored, then compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.maps.bootstrap import Bootstrap, Difference, Estimate
from segkit.models import device
from segkit.words import count
from trainer.evaluate import workers
from trainer.evaluate.judging import Exhibit
from trainer.evaluate.plan import Scene
from trainer.evaluate.quality import distances, networks, spread, vectors
from trainer.evaluate.quality.networks import CLIP, FEATURES, Clip, Extractor, Vector
from trainer.evaluate.quality.results import MEASURES, Quality, QualityScore, Value
from trainer.evaluate.quality.vectors import Item
from trainer.evaluate.settings import EvaluateSettings

ENOUGH = 2000
"""Maps from which on FID is measured by default, and KID below: FID is biased, the more the fewer pictures."""

_COLORS = "colors"

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Networks:
    """What turns pictures into vectors, as far as the settings name it.

    Attributes:
        extractors: by the names of their folders: "features" for KID and FID, "clip" for the CLIP score, and "colors"
            if there are several pictures of each map.
        clip: the CLIP with its tokenizer.
    """

    extractors: Mapping[str, Extractor] = field(default_factory=dict)
    clip: Clip | None = None

    def notes(self, prompts: Sequence[str]) -> Iterator[str]:
        """Yield what is left out, and how many prompts the CLIP does not read to their end, as sentences."""
        absent = {
            FEATURES: "KID and FID, as no features network was named (FID's Inception or a vision model)",
            CLIP: "the CLIP score, as no CLIP was named",
        }
        if missing := [text for role, text in absent.items() if role not in self.extractors]:
            yield f"Not measured: {'; '.join(missing)}."
        if self.clip and (truncated := sum(map(self.clip.is_truncated, prompts))):
            yield f"{count(truncated, 'prompt')} over CLIP's {self.clip.tokens} tokens, truncated for the CLIP score."


def load(settings: EvaluateSettings) -> Networks:
    """Load the networks that the settings name; they compute in fp32, whatever the precision of the pictures.

    Raises:
        ModelError: one is missing, damaged, of another kind, or a pickle that asks for code.
        UsageError: the device is not available.
    """
    resolved = device.resolve(workers.device(settings.device), "fp32")
    clip = networks.load_clip(settings.clip, resolved) if settings.clip else None
    extractors = {
        FEATURES: networks.load_features(settings.features, resolved) if settings.features else None,
        CLIP: clip.pictures if clip else None,
        _COLORS: spread.COLORS if settings.count > 1 else None,
    }
    return Networks({role: extractor for role, extractor in extractors.items() if extractor}, clip)


@dataclass(frozen=True)
class Group:
    """All pictures of a contender, or the photos.

    Attributes:
        name: the contender's, or "photos".
        drawings: S lists of M exhibits; photos have one.
    """

    name: str
    drawings: Sequence[Sequence[Exhibit]]


@dataclass(frozen=True)
class Gallery:
    """The pictures of an evaluation, and what looks at them.

    Attributes:
        networks: what turns them into vectors.
        scenes: their maps and prompts.
        contenders: what drew them, with the pictures.
        photos: the photos of the maps.
        folder: of the evaluation.
    """

    networks: Networks
    scenes: Sequence[Scene]
    contenders: Sequence[Group]
    photos: Group
    folder: Path

    def items(self) -> list[Item]:
        """Return the vectors to compute before `measure`."""
        items = self._prompts()
        for role in self.networks.extractors:
            groups = self.contenders if role == _COLORS else (*self.contenders, self.photos)
            items += [item for group in groups for item in self._pictures(role, group)]
        return items

    def _prompts(self) -> list[Item]:
        clip, folder = self.networks.clip, self.folder / vectors.FOLDER / CLIP
        requests = [scene.request for scene in self.scenes] if clip else []
        return [vectors.of_prompt(request.name, request.prompt, clip, folder) for request in requests if clip]

    @cached_property
    def _prompt_vectors(self) -> Values:
        """Vectors of length 1, (M, D)."""
        return spread.normalized(vectors.read(self._prompts()))

    def _pictures(self, role: str, group: Group) -> list[Item]:
        extractor, folder = self.networks.extractors[role], self.folder / vectors.FOLDER / role
        return [vectors.of_picture(exhibit, extractor, folder) for drawing in group.drawings for exhibit in drawing]

    def read(self, role: str, group: Group) -> Vector:
        """Return the vectors of a group's pictures, (S, M, D) float32."""
        return vectors.read(self._pictures(role, group)).reshape(len(group.drawings), len(self.scenes), -1)

    def per_map(self, group: Group) -> dict[str, Values]:
        """Return what single maps have, (M,): the CLIP score, and with several drawings the diversity."""
        measured: dict[str, Values] = {}
        if CLIP in self.networks.extractors:
            cosines = (spread.normalized(self.read(CLIP, group)) * self._prompt_vectors).sum(-1)
            measured["clip_score"] = 100 * cosines.mean(0)
        if len(group.drawings) > 1:
            measured["color_diversity"] = spread.of_colors(self.read(_COLORS, group))
            if FEATURES in self.networks.extractors:
                measured["feature_diversity"] = spread.of_features(self.read(FEATURES, group))
        return measured


def measure(gallery: Gallery, distance: str, pairs: Sequence[tuple[str, str]]) -> Quality:
    """Compare the vectors, all of which are stored.

    Args:
        gallery: the pictures.
        distance: "kid", "fid", "both", or "auto": KID of few maps, FID of many.
        pairs: names of contenders whose differences are asked for.

    Raises:
        ModelError: a file of a vector is missing or damaged.
    """
    maps, bootstrap = len(gallery.scenes), Bootstrap(len(gallery.scenes))
    per_map = {group.name: gallery.per_map(group) for group in (*gallery.contenders, gallery.photos)}
    values = {
        # The mean is clipped, and not the values of maps: torchmetrics' CLIP score.
        name: {key: np.maximum(bootstrap.mean(one), MEASURES[key].lowest) for key, one in measured.items()}
        for name, measured in per_map.items()
    }
    fids: dict[str, dict[str, Value]] = {}
    if FEATURES in gallery.networks.extractors and maps > 1:
        (photos,) = gallery.read(FEATURES, gallery.photos)
        chosen = distance if distance != "auto" else "kid" if maps < ENOUGH else "fid"
        for group in gallery.contenders:
            drawings = gallery.read(FEATURES, group)
            if chosen in ("kid", "both"):
                values[group.name]["kid"] = distances.kid(photos, drawings, bootstrap)
            if chosen in ("fid", "both"):
                fids[group.name] = {"fid": distances.fid(photos, drawings)}
    scores = [
        QualityScore(name, {**_estimates(one, bootstrap), **fids.get(name, {})}, per_map[name])
        for name, one in values.items()
    ]
    if not any(score.values for score in scores):
        return Quality()
    differences = tuple(
        Difference(first, second, _differences(values[first], values[second], bootstrap)) for first, second in pairs
    )
    identities = {role: extractor.identity for role, extractor in gallery.networks.extractors.items()}
    return Quality(identities, tuple(scores), differences)


def _estimates(values: Mapping[str, Values], bootstrap: Bootstrap) -> dict[str, Estimate]:
    ranges = {key: (MEASURES[key].lowest, MEASURES[key].highest) for key in values}
    return {key: bootstrap.estimate(one, *ranges[key]) for key, one in values.items()}


def _differences(
    first: Mapping[str, Values], second: Mapping[str, Values], bootstrap: Bootstrap
) -> dict[str, Estimate]:  # fmt: skip
    return {
        key: bootstrap.estimate(one - second[key], -MEASURES[key].highest, MEASURES[key].highest)
        for key, one in first.items()
    }
