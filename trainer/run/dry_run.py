"""What a training would do: everything checked, three steps tried, nothing trained and nothing kept."""

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit.errors import UsageError
from segkit.progress import Progress
from segkit.reports import contact_sheet
from trainer.data import examples, latents
from trainer.data.batches import Batches
from trainer.data.examples import Examples
from trainer.data.latents import Encoder, LatentCache
from trainer.run import previews, run_folder, setup
from trainer.run.setup import Setup, size
from trainer.settings import TrainSettings
from trainer.step.distributed import launched
from trainer.step.optimizers import STATE_BYTES

STEPS = 3
"""That are tried; the first warms up."""


@dataclass(frozen=True)
class Plan:
    """What a training would do.

    Attributes:
        triples, held_out: photos to learn from, and those held out.
        sizes: number of photos by bucket, "width x height", most often first.
        trained: weights that are trained.
        memory: bytes by part; "measured peak" is the device's, on a CPU the whole process's.
        steps: that are left to take.
        resumed: steps that the run has taken before.
        cache: bytes that are missing in the cache, and cache_photos, the number of photos; 0 without a cache.
        cache_seconds, step_seconds: for the whole cache, and for a step.
        seconds: until the end, without looks, pictures and checkpoints.
        cut: prompts that are longer than the text encoder reads.
        device: what works, in which arithmetic.
        picture: the first batch.
    """

    triples: int
    held_out: int
    sizes: dict[str, int]
    trained: int
    memory: dict[str, int]
    steps: int
    resumed: int
    cache: int
    cache_photos: int
    cache_seconds: float
    step_seconds: float
    seconds: float
    cut: int
    device: str
    picture: Path

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {**asdict(self), "picture": str(self.picture)}


def plan(dataset: Path, output: Path, settings: TrainSettings, progress: Progress) -> Plan:
    """Check everything that train would, try three steps, and write the first batch beside the run's folder.

    Args:
        dataset: as for loop.train, like the rest.
        output: the run's folder, which is not made.
        settings: of the training.
        progress: shows how far things are.

    Raises:
        SegkitError: what train would refuse.
    """
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with launched(replace(settings, processes=0)) as accelerator, tempfile.TemporaryDirectory() as scratch:
        if accelerator.num_processes > 1:
            raise UsageError("--dry-run tries one process. Start it without torchrun and accelerate launch.")
        found = examples.find(dataset, settings.palette, settings.allow_any_control)
        facts = run_folder.facts(settings, dataset, found, settings.processes or 1)
        start = run_folder.newest(output, facts, settings.steps)
        trial = _Trial(found, settings, latents.folder_for(found, dataset, output), Path(scratch), progress)
        caches = trial.cache if settings.cache else None
        prepared = setup.prepare(found, settings, accelerator, output, start, caches)
        taken = start.step if start else 0
        seconds = _tried(prepared, settings, taken, accelerator)
        left = settings.steps - taken
        buckets = [pick.view.size for pick in trial.picks(range(trial.batches.order.batches))]
        sizes = {f"{each[0]} x {each[1]}": buckets.count(each) for each in sorted(set(buckets), key=buckets.count)}
        return Plan(
            triples=len(found.train),
            held_out=len(found.val),
            sizes=dict(reversed(sizes.items())),
            trained=sum(weight.numel() for weight in prepared.model.parameters() if weight.requires_grad),
            memory=_memory(prepared, settings, accelerator),
            steps=left,
            resumed=taken,
            cache=trial.missing,
            cache_photos=trial.missing_photos,
            cache_seconds=trial.missing_photos * trial.photo_seconds,
            step_seconds=seconds,
            seconds=left * seconds + trial.missing_photos * trial.photo_seconds,
            cut=prepared.cut,
            device=f"{accelerator.device.type}, {accelerator.mixed_precision.replace('no', 'fp32')}",
            picture=_drawn(trial, output),
        )


class _Trial:
    """The cache of a few batches, made where it leaves nothing behind, and what the whole one would take."""

    def __init__(
        self, found: Examples, settings: TrainSettings, folder: Path, scratch: Path, progress: Progress
    ) -> None:
        self._found, self._settings, self._folder, self._scratch = found, settings, folder, scratch
        self._progress = progress
        self.batches = Batches(found.train, found.palette, settings)
        self.table = found.palette
        self.missing = self.missing_photos = 0
        self.photo_seconds = 0.0

    def picks(self, numbers: range) -> list[Any]:
        """Return what batches are made of."""
        return [pick for number in numbers for pick in self.batches.picks(number)]

    def cache(self, encoder: Encoder) -> LatentCache:
        """Return a cache that the steps to try find all in."""
        photos, prompts = LatentCache(self._folder, encoder).missing(self._found, self._settings)
        self.missing, self.missing_photos = latents.size(photos, prompts, encoder), len(photos)
        latents.require_space(self._folder, self.missing)
        kept = LatentCache(self._scratch, encoder)
        picks = self.picks(range(STEPS * self._settings.accumulate))
        began = time.perf_counter()
        kept.fill(
            [(each.example, each.view) for each in picks], ["", *(each.text for each in picks)], encoder, self._progress
        )
        self.photo_seconds = (time.perf_counter() - began) / len({(each.example, each.view) for each in picks})
        return kept


def _tried(prepared: Setup, settings: TrainSettings, taken: int, accelerator: Accelerator) -> float:
    """Take steps that nothing is kept of; return the seconds of one."""
    stream, times = (prepared.batches.batch(number) for number in range(STEPS * settings.accumulate)), []
    for step in range(STEPS):
        began = time.perf_counter()
        float(prepared.learner.update(stream, taken + step).loss)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _memory(prepared: Setup, settings: TrainSettings, accelerator: Accelerator) -> dict[str, int]:
    model = prepared.model
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    parts = {
        "ControlNet": size(model.controlnet),
        "UNet": size(model.unet),
        "gradients": 4 * trained,
        settings.optimizer: STATE_BYTES[settings.optimizer] * trained,
        "running mean": 4 * trained if settings.ema else 0,
        "VAE and text encoder": prepared.encoders,
    }
    if accelerator.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {name: count for name, count in parts.items() if count} | {"measured peak": peak}


def _drawn(trial: _Trial, output: Path) -> Path:
    """Write the first batch as a picture: control map and photo as the network sees them, and the prompt."""
    path = output.resolve().with_name(f"{output.resolve().name}-first-batch.png")
    strips = [contact_sheet.strip(previews.shown(each, trial.table), each.text) for each in trial.picks(range(1))]
    contact_sheet.save(contact_sheet.sheet(strips, columns=3), path)
    return path
