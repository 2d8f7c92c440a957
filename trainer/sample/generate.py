"""Draw pictures from control maps, which are resized with NEAREST and checked again at the ControlNet's input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from segkit import storage
from segkit.errors import TrainingError, UsageError
from segkit.palette import Palette
from segkit.progress import NOTICE, Progress
from trainer.checkpoints import quiet
from trainer.sample import controls, grid, recipes
from trainer.sample.networks import Networks
from trainer.sample.recipes import Recipes
from trainer.sample.requests import DrawRequest, Subject
from trainer.sample.sources import find_networks, sources
from trainer.settings import GenerateSettings

_INSTEAD = "a run of segkit train, a file or a folder, as in controlnet=RUN"


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        path: its PNG file.
        request: its map and prompt.
        seed: seed of its noise.
        reused: an equal picture existed already, and nothing was drawn.
        truncated: the prompt exceeds CLIP's 77 tokens; the rest was ignored.
        guess: how the base's prediction type was guessed, in words; "" if it was recorded or set.
        step: which step of which run drew it, as a sentence; "" for a ControlNet that is not of a run.
        strength: ControlNet conditioning scale.
    """

    path: Path
    request: DrawRequest
    seed: int
    reused: bool
    truncated: bool
    guess: str = ""
    step: str = ""
    strength: float = 1.0

    @property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        with Image.open(self.path, formats=["PNG"]) as image:
            return image.convert("RGB")


@dataclass(frozen=True)
class _Job:
    subject: Subject
    path: Path
    recipe: dict[str, Any]
    done: bool


def generate(
    requests: Sequence[DrawRequest], output: Path, settings: GenerateSettings, progress: Progress, overwrite: bool
) -> list[Picture]:
    """Draw every request with every seed at every strength. Pictures that exist with an equal recipe are reused.

    Args:
        requests: maps and prompts.
        output: folder for the pictures: NAME-SEED.png, or with several strengths NAME-SEED-strength-STRENGTH.png and
            a contact sheet of all, strengths.png.
        settings: networks, seeds and sampling.
        progress: called with ("pictures", done, total).
        overwrite: replace other files with the pictures' names.

    Raises:
        MapError: a map has off-palette pixels.
        ModelError: a network is missing, damaged or of another architecture.
        UsageError: a file with a picture's name exists and is something else.
        TrainingError: the GPU has too little memory.
    """
    source = sources(settings)
    palette = None if settings.allow_any_control else Palette.load(source.palette)
    # before the maps are decoded
    weights = find_networks(source.base, source.vae, settings.controlnet, _INSTEAD, settings.controlnet_mode)
    sizes = [controls.require_drawable(request, palette, settings.resolution) for request in requests]
    with quiet.diffusers():
        networks = Networks(source, settings, palette, weights)
        for note in filter(None, (networks.step, networks.guess, networks.advice)):
            progress(NOTICE, 0, 0, note)
        recorder = Recipes(settings, palette, networks.precision, networks.digests)
        jobs = [_job(subject, settings, recorder, output) for subject in _subjects(requests, sizes, settings)]
        if not overwrite:
            _require_free(jobs, output / grid.NAME if settings.strengths else None)
        _draw(jobs, networks, settings, progress)
        pictures = [
            Picture(
                job.path, job.subject.request, job.subject.seed, job.done,
                networks.is_truncated(job.subject.request.prompt), networks.guess, networks.step, job.subject.strength,
            )
            for job in jobs
        ]  # fmt: skip
    if settings.strengths and pictures:
        grid.write(pictures, palette, output)
    return pictures


def _subjects(
    requests: Sequence[DrawRequest], sizes: Sequence[tuple[int, int]], settings: GenerateSettings
) -> list[Subject]:
    return [
        Subject(request, seed, strength, size)
        for request, size in zip(requests, sizes, strict=True)
        for seed in range(settings.seed, settings.seed + settings.count)
        for strength in settings.scales
    ]


def _job(subject: Subject, settings: GenerateSettings, recorder: Recipes, output: Path) -> _Job:
    """Return what to draw, and whether it has been drawn already."""
    variant = f"-strength-{grid.label(subject.strength)}" if settings.strengths else ""
    path = output / f"{subject.request.name}-{subject.seed}{variant}.png"
    recipe = recorder.recipe(subject)
    return _Job(subject, path, recipe, done=recipes.read(path) == recipe)


def _require_free(jobs: Sequence[_Job], sheet: Path | None) -> None:
    taken = [job.path for job in jobs if job.path.exists() and not job.done]
    if taken:
        raise UsageError(
            f"{len(taken)} of {len(jobs)} pictures would replace other files, such as {taken[0]}. Choose another "
            "output folder, or pass overwrite=True."
        )
    if sheet and sheet.exists() and recipes.read(sheet) is None:
        raise UsageError(
            f"The contact sheet would replace {sheet}. Choose another output folder, or pass overwrite=True."
        )


def _draw(jobs: Sequence[_Job], networks: Networks, settings: GenerateSettings, progress: Progress) -> None:
    import torch

    done = sum(job.done for job in jobs)
    progress("pictures", done, len(jobs))
    for batch in _batches([job for job in jobs if not job.done], settings.batch_size):
        try:
            images = networks.draw([job.subject for job in batch])
        except torch.OutOfMemoryError:
            raise TrainingError(f"The GPU ran out of memory. Try {_smaller(settings)} or device=cpu.") from None
        for job, image in zip(batch, images, strict=True):
            storage.write(job.path, recipes.encode(image, job.recipe))
        done += len(batch)
        progress("pictures", done, len(jobs))


def _batches(jobs: Sequence[_Job], batch_size: int) -> Iterator[list[_Job]]:
    """Yield jobs of one size together, otherwise in their order."""

    def size(job: _Job) -> tuple[int, int]:
        return job.subject.size

    for _, group in groupby(sorted(jobs, key=size), size):
        of_size = list(group)
        for first in range(0, len(of_size), batch_size):
            yield of_size[first : first + batch_size]


def _smaller(settings: GenerateSettings) -> str:
    if settings.batch_size > 1:
        return f"batch_size={settings.batch_size // 2}"
    return f"resolution={max(256, settings.resolution // 128 * 64)}"
