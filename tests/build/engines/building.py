"""Builds that need no networks, inline or on a cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segkit.build import pipeline, units
from segkit.build.outcome import Outcome
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.palette import Palette
from tests.dataset.test_dataset import Unbatched, brightness

PHOTOS = 11
"""Photos in the fixture `photos` that become triples."""


def networks(settings: BuildSettings) -> Networks:
    """Return networks that are plain functions, so that workers start without torch."""
    return Unbatched(Palette.load("ade20k"), brightness, None, "brightness", "1", batch=2)


def build(
    photos: Path | str, out: Path, load: Callable[[BuildSettings], Networks] = networks, **options: Any
) -> Outcome:
    """Build a dataset in units of three photos, by default with two workers."""
    options = {"engine": "ray", "workers": "2" if options.get("engine") != "inline" else "auto", **options}
    settings = BuildSettings(size=96, min_size=80, caption=False, split="val=0.2", **options)
    before, units.UNIT = units.UNIT, 3
    try:
        return pipeline.build_dataset(photos, out, settings, load=load)
    finally:
        units.UNIT = before
