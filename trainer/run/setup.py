"""What a training works with, made ready: networks, optimizer, cache, batches, and what watches and draws."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from segkit.progress import Progress
from trainer.checkpoints import configs, load
from trainer.checkpoints.store import Checkpoint
from trainer.data import latents
from trainer.data.batches import Batches
from trainer.data.examples import Examples
from trainer.data.latents import Encoder, LatentCache
from trainer.data.paint import PalettePainter
from trainer.run.previews import Model, Previews
from trainer.run.validation import Validation
from trainer.settings import TrainSettings
from trainer.step import distributed
from trainer.step.learner import Learner
from trainer.step.loss import ControlledUNet, DiffusionLoss, require_unchanged


@dataclass(frozen=True)
class Setup:
    """A training that can take its next step.

    Attributes:
        base: the base's name.
        cut: prompts that are longer than the text encoder reads.
        learner, batches: what learns, and what it sees.
        watch, previews: None where they are not asked for.
        model: the networks, as they were before accelerate took them.
        encoders: bytes of VAE and text encoder that stay in memory, without a cache.
    """

    base: str
    cut: int
    learner: Learner
    batches: Batches
    watch: Validation | None
    previews: Previews | None
    model: ControlledUNet
    encoders: int


def prepare(
    found: Examples, settings: TrainSettings, accelerator: Accelerator, run: Path, start: Checkpoint | None,
    caches: Callable[[Encoder], LatentCache] | None,
) -> Setup:  # fmt: skip
    """Load the networks and make everything ready.

    Args:
        found: the examples.
        settings: of the training.
        accelerator: the processes.
        run: the run's folder.
        start: where an earlier run was; None for a new one.
        caches: returns the cache, filled; None to do without.

    Raises:
        SegkitError: a network, an option or the machine does not do; one line with the cure.
    """
    device = accelerator.device
    base = load.load_base(settings.base, settings.tokenizer, settings.prediction_type)
    encoder = Encoder(base, device, distributed.dtype(accelerator))
    cut = encoder.count_truncated([each.text for each in found.train])
    kept = caches(encoder) if caches else None  # then nothing holds the text encoder and the VAE's encoder any more
    paint = PalettePainter(found.palette, device)
    objective = DiffusionLoss(base, None if kept else encoder, paint, device, settings.min_snr)
    controlnet = load.load_controlnet(settings.controlnet, base, settings.seed)
    if settings.controlnet == load.FRESH:
        require_unchanged(base, controlnet)
    previews = None
    if settings.preview_every:
        drawing = Model(
            encoder.decoder(alone=kept is not None), (kept or encoder).prompt, paint, base.prediction,
            configs.vae_scale_factor(base.vae.config), base.vae.config.latent_channels,
        )  # fmt: skip
        previews = Previews(found, settings, drawing, run, device)
    model = ControlledUNet(controlnet, base.unet, settings.only_mid_control, settings.sd_unlocked)
    return Setup(
        base=base.name,
        cut=cut,
        learner=Learner(settings, accelerator, model, objective, start),
        batches=Batches(
            found.train, found.palette, settings, kept, (accelerator.process_index, accelerator.num_processes)
        ),
        watch=Validation(found, settings, kept) if settings.evaluate_every else None,
        previews=previews,
        model=model,
        encoders=0 if kept else sum(map(size, (base.vae, base.text_encoder))),
    )


def size(network: Any) -> int:
    """Return the bytes of a network's weights."""
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


def filled(
    folder: Path, found: Examples, settings: TrainSettings, encoder: Encoder, accelerator: Accelerator,
    progress: Progress,
) -> LatentCache:  # fmt: skip
    """Return what VAE and text encoder say of everything; what is missing in the folder is worked out first.

    The processes share the work.

    Raises:
        UsageError: the disk is too small for it.
    """
    kept = LatentCache(folder, encoder)

    def missing() -> Any:
        photos, prompts = kept.missing(found, settings)
        latents.require_space(folder, latents.size(photos, prompts, encoder))
        return photos, prompts

    photos, prompts = distributed.on_main(accelerator, missing)
    rank, world = accelerator.process_index, accelerator.num_processes
    kept.fill(photos[rank::world], prompts[rank::world], encoder, progress)
    accelerator.wait_for_everyone()
    kept.refresh()
    return kept
