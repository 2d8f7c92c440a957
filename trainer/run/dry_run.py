"""Dry run: check everything, try a few steps, and report what a training would take, without training anything."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from segkit.errors import UsageError
from segkit.models.device import weight_bytes
from segkit.progress import Progress
from segkit.reports import contact_sheet
from segkit.words import data_size
from trainer.checkpoints import quiet
from trainer.data import examples, latents
from trainer.data.batches import Batches, Pick
from trainer.data.examples import Examples
from trainer.data.latents import Encoder, LatentCache
from trainer.data.members import Member
from trainer.data.shard_cache import CachedShards
from trainer.data.shards import Cache, Data
from trainer.run import fidelity, memory, previews, run_folder, setup
from trainer.run.setup import Setup
from trainer.settings import TrainSettings
from trainer.step import distributed
from trainer.step.distributed import launched
from trainer.step.optimizers import STATE_BYTES

STEPS = 3
"""Steps to time; the first is a warm-up and does not count."""


@dataclass(frozen=True)
class Plan:
    """What a training would do and take.

    Attributes:
        triples: number of training triples.
        held_out: number of held-out triples.
        empty_prompts: number of training triples with an empty prompt.
        notes: what a user should know about the data, as sentences.
        sizes: photos per epoch by crop size, "width x height", most frequent first.
        trained: number of trainable weights.
        memory: bytes by part; "measured peak" is the GPU's, or the whole process's on a CPU.
        steps: steps remaining.
        resumed: steps that the run has taken already.
        cache: bytes that the latent cache lacks; 0 without a cache.
        cache_photos: photos that it lacks, mirrored ones included.
        cache_prompts: prompts that it lacks.
        cache_triple: bytes that a training triple of the most frequent size takes in it, mirror image and prompt
            included.
        cache_seconds: estimated time to encode them.
        step_seconds: time of a step.
        seconds: estimated total of steps, cache and evaluations of fidelity, without validation, previews and
            checkpoints.
        cut: number of prompts that the text encoder truncates.
        device: device type and precision, such as "cuda, bf16".
        picture: file with the first batch.
        guess: how the base's prediction type was guessed, in words; "" if it was recorded or set.
        evaluations: number of evaluations of fidelity.
        fidelity_seconds: estimated time of one of them, part of the total; 0 without.
        gpu: bytes that a step needs on a GPU in memory.PRECISION, computed and not measured.
        gpus: for GPUs of so many GB, the settings that must change so that it fits: {} for none, None if it does not.
    """

    triples: int
    held_out: int
    empty_prompts: int
    notes: tuple[str, ...]
    sizes: dict[str, int]
    trained: int
    memory: dict[str, int]
    steps: int
    resumed: int
    cache: int
    cache_photos: int
    cache_prompts: int
    cache_triple: int
    cache_seconds: float
    step_seconds: float
    seconds: float
    cut: int
    device: str
    picture: Path
    guess: str = ""
    evaluations: int = 0
    fidelity_seconds: float = 0.0
    gpu: int = 0
    gpus: Mapping[int, dict[str, Any] | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {**asdict(self), "notes": list(self.notes), "picture": str(self.picture)}


def plan(
    dataset: Data, output: Path, settings: TrainSettings, progress: Progress, accept_changes: bool = False
) -> Plan:
    """Check everything that loop.train would check, try three steps, and write the first batch beside the run folder.

    Args:
        dataset: as for loop.train.
        output: the run folder, which is not created.
        settings: of the training.
        progress: called as photos and maps are opened, and as the trial's photos are encoded.
        accept_changes: as for loop.train.

    Raises:
        SegkitError: loop.train would raise it, or there is more than one process.
    """
    with (
        quiet.diffusers(),
        launched(replace(settings, processes=0)) as accelerator,
        tempfile.TemporaryDirectory() as scratch,
    ):
        if accelerator.num_processes > 1:
            raise UsageError("dry_run=True runs in one process. Start it without torchrun and accelerate launch.")
        setup.require_networks(settings)
        # the run folder is not created, so copies of shards are kept only if their folder is another
        copies = Cache.of(settings, output if settings.cache_dir else Path(scratch))
        triples = examples.load(dataset, settings, progress, copies)
        facts = run_folder.facts(settings, dataset, triples, settings.processes or 1)
        start = run_folder.newest(output, facts, triples, settings.steps, accept_changes)
        trial = _Trial(
            triples, settings, latents.folder_for(triples, dataset, settings, output), Path(scratch), progress
        )
        prepared = setup.prepare(
            triples, settings, accelerator, output, start, trial.cache_for if settings.cache else None
        )
        resumed = start.step if start else 0
        step_seconds = _time_steps(prepared, settings, resumed)
        processes = settings.processes or 1
        fidelity_seconds = prepared.fidelity.trial(prepared.learner) / processes if prepared.fidelity else 0.0
        evaluations = fidelity.evaluations(settings, resumed)
        cache_seconds = trial.missing_photos * trial.photo_seconds
        remaining = settings.steps - resumed
        needs = memory.needs(prepared.model, settings, prepared.encoder_bytes + prepared.reward_bytes)
        return Plan(
            triples=len(triples.train),
            held_out=len(triples.val),
            empty_prompts=triples.empty_prompts,
            notes=(
                *triples.notes,
                *filter(None, (prepared.source, *prepared.notes, _shards_note(triples, Cache.of(settings, output)))),
            ),
            sizes=trial.sizes(),
            trained=sum(weight.numel() for weight in prepared.model.parameters() if weight.requires_grad),
            memory=_memory(prepared, settings, accelerator),
            steps=remaining,
            resumed=resumed,
            cache=trial.missing_bytes,
            cache_photos=trial.missing_photos,
            cache_prompts=trial.missing_prompts,
            cache_triple=trial.triple_bytes,
            cache_seconds=cache_seconds,
            step_seconds=step_seconds,
            seconds=remaining * step_seconds + cache_seconds + evaluations * fidelity_seconds,
            cut=prepared.truncated,
            device=f"{accelerator.device.type}, {distributed.precision(accelerator)}",
            picture=_write_first_batch(trial, output),
            guess=prepared.guess,
            evaluations=evaluations,
            fidelity_seconds=fidelity_seconds,
            gpu=needs[0].bytes,
            gpus=memory.fitting(needs),
        )


def _shards_note(triples: Examples, cache: Cache) -> str:
    """Return what a training will fetch and keep of remote shards, as a sentence; "" for other data."""
    photo = triples.train[0].photo
    if not isinstance(photo, Member) or not isinstance(photo.store, CachedShards):
        return ""
    size, held = photo.store.size, photo.store.copied_to(cache.folder).held()
    if not cache.limit:
        return f"Shards of {data_size(size)} at {photo.store}: no copies are kept, so every epoch fetches them again."
    fit = "all of it fits" if size <= cache.limit else "not all of it fits, so that each epoch fetches a part again"
    return (
        f"Shards of {data_size(size)} at {photo.store}: what is read is kept in {cache.folder}, at most "
        f"{data_size(cache.limit)}; {fit}. {data_size(held)} of them are there."
    )


class _Trial:
    """Caches the few batches of the trial in a scratch folder, and estimates what the whole cache would take."""

    def __init__(
        self, triples: Examples, settings: TrainSettings, folder: Path, scratch: Path, progress: Progress
    ) -> None:
        self._examples, self._settings, self._folder, self._scratch = triples, settings, folder, scratch
        self._progress = progress
        self.batches = Batches(triples.train, triples.palette, settings)
        self.palette = triples.palette
        self.missing_bytes = self.missing_photos = self.missing_prompts = self.triple_bytes = 0
        self.photo_seconds = 0.0

    def picks(self, numbers: range) -> list[Pick]:
        """Return the photos of some batches."""
        return [pick for number in numbers for pick in self.batches.picks(number)]

    def sizes(self) -> dict[str, int]:
        """Return the photos of an epoch by crop size, most frequent first."""
        sizes = [pick.view.size for pick in self.picks(range(self.batches.order.batches))]
        ascending = sorted(set(sizes), key=sizes.count)
        return {f"{width} x {height}": sizes.count((width, height)) for width, height in reversed(ascending)}

    def cache_for(self, encoder: Encoder) -> LatentCache:
        """Return a cache that has everything the trial's steps need."""
        photos, prompts = LatentCache(self._folder, encoder).missing(self._examples, self._settings)
        self.missing_bytes = latents.size(photos, prompts, encoder)
        self.missing_photos, self.missing_prompts = len(photos), len(prompts)
        self.triple_bytes = self._triple_bytes(encoder)
        latents.require_space(self._folder, self.missing_bytes)
        cache = LatentCache(self._scratch, encoder)
        picks = self.picks(range(STEPS * self._settings.accumulate))
        views = [(pick.example, pick.view) for pick in picks if latents.is_cached(pick.view, self._settings)]
        began = time.perf_counter()
        drawn = fidelity.chosen(self._examples)[:1] if self._settings.evaluate_fidelity else []
        texts = ["", *(pick.text for pick in picks), *(example.text for example in drawn)]
        cache.fill(views, texts, encoder, self._progress)
        self.photo_seconds = (time.perf_counter() - began) / max(len(set(views)), 1)
        return cache

    def _triple_bytes(self, encoder: Encoder) -> int:
        """Return the bytes that a training triple takes in the cache."""
        width, height = map(int, next(iter(self.sizes())).split(" x "))
        photo, prompt = encoder.sizes(width * height)
        return photo * (2 if self._settings.flip and self._settings.flip_cache else 1) + prompt


def _time_steps(prepared: Setup, settings: TrainSettings, step: int) -> float:
    """Take the trial's steps, whose weights are discarded; return the seconds of the fastest after the first."""
    dataloader = (prepared.batches.batch(number) for number in range(STEPS * settings.accumulate))
    seconds = []
    for offset in range(STEPS):
        began = time.perf_counter()
        float(prepared.learner.update(dataloader, step + offset).loss)  # float() waits for the device
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _memory(prepared: Setup, settings: TrainSettings, accelerator: Accelerator) -> dict[str, int]:
    model = prepared.model
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    parts = {
        "ControlNet": weight_bytes(model.controlnet),
        "UNet": weight_bytes(model.unet),
        "gradients": 4 * trained,
        settings.optimizer: STATE_BYTES[settings.optimizer] * trained,
        "running mean": 4 * trained if settings.ema else 0,
        "VAE and text encoder": prepared.encoder_bytes,
        "reward": prepared.reward_bytes,
        "judge": prepared.fidelity.judge_bytes if prepared.fidelity else 0,
    }
    if accelerator.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(accelerator.device)
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {name: size for name, size in parts.items() if size} | {"measured peak": peak}


def _write_first_batch(trial: _Trial, output: Path) -> Path:
    """Write the first batch as a contact sheet: control maps and photos as the network sees them, and prompts."""
    path = output.resolve().with_name(f"{output.resolve().name}-first-batch.png")
    strips = [
        contact_sheet.strip(previews.network_view(pick, trial.palette), pick.text) for pick in trial.picks(range(1))
    ]
    contact_sheet.save(contact_sheet.sheet(strips, columns=3), path)
    return path
