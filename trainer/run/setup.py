"""Prepare a training: networks, optimizer, latent cache, batches, validation, fidelity and previews."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator
from torch import Tensor

from segkit.errors import UsageError
from segkit.models import hub
from segkit.models.device import Device, weight_bytes
from segkit.models.scores import Scorer
from segkit.models.segment import NeuralSegmenter
from segkit.progress import Progress
from trainer.checkpoints import configs, find, fitting, layers, load, rewards
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import Base
from trainer.checkpoints.runs import Weights
from trainer.checkpoints.store import Checkpoint
from trainer.data import latents
from trainer.data.batches import Batches
from trainer.data.decoder import Decoder
from trainer.data.examples import Examples
from trainer.data.latents import Encoder, LatentCache
from trainer.data.paint import PalettePainter
from trainer.evaluate import judging, plan
from trainer.evaluate.judging import Judge
from trainer.run import fidelity
from trainer.run.drawing import Drawer
from trainer.run.fidelity import Fidelity
from trainer.run.previews import Previews
from trainer.run.validation import Validation
from trainer.sample import sampler
from trainer.settings import FRESH, SampleSettings, TrainSettings
from trainer.step import agreement, distributed
from trainer.step.learner import Learner
from trainer.step.loss import ControlledUNet, DiffusionLoss, require_unchanged
from trainer.step.reward import Reward
from trainer.step.rollout import Rollout

Item = TypeVar("Item")

_SAME_WEIGHTS = "base, controlnet, reward and judge must lead to the same weights on all machines."


@dataclass(frozen=True)
class Setup:
    """A training that is ready for its next step.

    Attributes:
        base: name of the base.
        truncated: number of prompts that the text encoder truncates.
        learner: networks and optimizer.
        batches: training data of this process.
        validation: None if disabled.
        fidelity: None if disabled.
        previews: None if disabled.
        model: the networks, before accelerate wrapped them.
        encoder_bytes: weights of VAE and text encoder that stay in memory to encode; 0 if everything is cached.
        reward_bytes: weights that stay in memory for the reward: segmenter, and VAE if it is not among those; 0 without
            a reward.
        guess: how the base's prediction type was guessed, in words; "" if it was recorded or set.
        source: which step of which run a new run starts from, and at which strength if not its own, as sentences; "" if
            neither applies.
        notes: what a reader of the results should know, as sentences.
    """

    base: str
    truncated: int
    learner: Learner
    batches: Batches
    validation: Validation | None
    fidelity: Fidelity | None
    previews: Previews | None
    model: ControlledUNet
    encoder_bytes: int
    reward_bytes: int = 0
    guess: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()


def find_networks(settings: TrainSettings) -> Weights | None:
    """Return where the initial ControlNet is, None for a fresh one, before the dataset is read or the cache is filled.

    Raises:
        ModelError: it, the base, the reward's segmenter or the judge is missing or unavailable.
    """
    if settings.reward:
        hub.find(settings.reward, "segmenter", "reward")
    if settings.evaluate_fidelity:
        hub.find(settings.judge, "segmenter", "judge")
    return find.find_networks(settings.base, settings.controlnet, "controlnet=fresh")


def require_networks(settings: TrainSettings) -> None:
    """Refuse networks that are missing or do not fit the base, before anything slow begins.

    Raises:
        ModelError: see find_networks and fitting.require_fitting.
    """
    fitting.require_fitting(settings.base, find_networks(settings), settings.vae, settings.controlnet_mode)


def prepare(
    examples: Examples, settings: TrainSettings, accelerator: Accelerator, run: Path, start: Checkpoint | None,
    cache_for: Callable[[Encoder], LatentCache] | None,
) -> Setup:  # fmt: skip
    """Load the networks and build everything that a training needs.

    Args:
        examples: the dataset.
        settings: of the training.
        accelerator: the processes.
        run: the run folder.
        start: checkpoint to resume from; None for a new run.
        cache_for: returns the filled latent cache of an encoder; None trains without a cache.

    Raises:
        SegkitError: a network, an option or the machine is unsuitable.
    """
    device = accelerator.device
    judge = _judge(examples, settings, accelerator)
    source = find_networks(settings)
    base = load.load_base(settings.base, settings.tokenizer, settings.prediction_type, settings.vae)
    # before hours of filling the cache
    controlnet = _controlnet(source, base, settings)
    agreement.require_same(accelerator, lambda: _digests(base, controlnet, settings), _SAME_WEIGHTS)
    encoder = Encoder(base, device, distributed.weight_dtype(accelerator), settings.cache_dtype)
    truncated = encoder.count_truncated([example.text for example in examples.train])
    # Once the cache is filled, nothing refers to the text encoder and the VAE's encoder any more: their memory is freed
    # before the optimizer needs it.
    cache = cache_for(encoder) if cache_for else None
    encodes_photos = cache is None or (settings.flip and not settings.flip_cache)
    encoder_bytes = weight_bytes(base.vae) if encodes_photos else 0
    encoder_bytes += 0 if cache else sum(map(weight_bytes, base.text_encoders))
    if cache:
        encoder.drop_text_encoders()
    paint = PalettePainter(examples.palette, device)
    decoder = None
    if settings.preview_every or settings.reward or judge:
        decoder = encoder.decoder(alone=not encodes_photos, resident=bool(settings.reward))
    drawer = _drawer(base, decoder, (cache or encoder).prompt, paint, settings) if decoder else None
    reward = None
    if decoder and settings.reward:
        reward = _reward(examples, settings, accelerator, decoder, (cache or encoder).prompt(""))
    objective = DiffusionLoss(base, encoder if encodes_photos else None, paint, device, settings.min_snr, reward)
    if source is None:
        require_unchanged(base, controlnet)
    model = ControlledUNet(controlnet, base.unet, settings.only_mid_control, settings.sd_unlocked)
    process = (accelerator.process_index, accelerator.num_processes)
    return Setup(
        base=base.name,
        truncated=truncated,
        learner=Learner(settings, accelerator, model, objective, start),
        batches=Batches(examples.train, examples.palette, settings, cache, process),
        validation=Validation(examples, settings, cache) if settings.evaluate_every else None,
        fidelity=Fidelity(examples, settings, drawer, judge) if judge and drawer else None,
        previews=Previews(examples, settings, drawer, run) if settings.preview_every and drawer else None,
        model=model,
        encoder_bytes=encoder_bytes,
        reward_bytes=reward.bytes(with_vae=not encodes_photos) if reward else 0,
        guess=base.guess.sentence if base.guess else "",
        source="" if start else _origin(source, settings),
        notes=tuple(filter(None, (base.advice(settings.resolution), *_notes(judge, reward, examples, settings)))),
    )


def _controlnet(source: Weights | None, base: Base, settings: TrainSettings) -> Any:
    """Load the initial ControlNet, at its strength; a run that resumes replaces all weights by its checkpoint's."""
    controlnet = load.load_controlnet(source or FRESH, base, settings.seed, settings.controlnet_mode)
    layers.scale_residuals(controlnet, settings.start_strength)
    return controlnet


def _origin(source: Weights | None, settings: TrainSettings) -> str:
    """Return what a new run starts from, as sentences."""
    strength = settings.start_strength
    stronger = "" if strength == 1 else f"The ControlNet starts as if drawn at strength {strength:g}."
    return " ".join(filter(None, (source.note if source else "", stronger)))


def _drawer(
    base: Base, decoder: Decoder, encode_prompt: Callable[[str], Tensor], paint: PalettePainter, settings: TrainSettings
) -> Drawer:  # fmt: skip
    factor, channels = configs.vae_scale_factor(base.vae.config), base.vae.config.latent_channels
    sampling = SampleSettings(steps=sampler.STEPS, guidance=settings.preview_guidance)
    return Drawer(decoder, encode_prompt, base.conditioning, paint, base.prediction, factor, channels, sampling)


def _judge(examples: Examples, settings: TrainSettings, accelerator: Accelerator) -> NeuralSegmenter | None:
    """Load the judge into the CPU's memory, before hours of filling the cache; None without evaluations.

    Raises:
        UsageError: there is no map to draw.
        ModelError: the judge is unsuitable.
    """
    if not settings.evaluate_fidelity:
        return None
    palette = fidelity.require_maps(examples, settings)
    judge = NeuralSegmenter(settings.judge, palette, _device(accelerator))
    judge.park()
    return judge


def _device(accelerator: Accelerator) -> Device:
    return Device(str(accelerator.device), distributed.precision(accelerator))


def _notes(
    segmenter: NeuralSegmenter | None, reward: Reward | None, examples: Examples, settings: TrainSettings
) -> Iterator[str]:  # fmt: skip
    """Yield what makes the judge's figures flattering or uncertain, if there is a judge."""
    if segmenter is None:
        return
    judge = Judge(segmenter, segmenter.source.identity)
    rewarding = [*rewards.of_controlnet(settings.controlnet), *([reward.source.weights] if reward else [])]
    yield judging.conflict(judge, examples.segmenter)
    yield judging.trained_against(judge, {"this ControlNet": rewarding})
    yield plan.few(min(fidelity.MAPS, len(examples.val)))


def _reward(
    examples: Examples, settings: TrainSettings, accelerator: Accelerator, decoder: Decoder, unconditional: Tensor
) -> Reward:  # fmt: skip
    """Load the reward's segmenter.

    Raises:
        UsageError: the control pictures are not segmentation maps, or the weights are sharded and the settings do not
            suit that.
        ModelError: the segmenter is unsuitable.
    """
    if examples.palette is None:
        raise UsageError(
            f"reward={settings.reward}: the control images are not segmentation maps, so there are no classes to "
            "reward. Train without a reward."
        )
    if settings.reward_steps and distributed.is_sharded(accelerator):
        raise UsageError(
            f"reward_steps={settings.reward_steps}: the weights are sharded over processes, which would have to sample "
            "in step. Use reward_steps=0, or processes with whole weights."
        )
    rollout = None
    if settings.reward_steps:
        rollout = Rollout(
            settings.reward_steps, settings.reward_guidance, unconditional, settings.reward_gradient_steps
        )
    return Reward(Scorer(settings.reward, examples.palette, _device(accelerator)), decoder, settings, rollout)


def fill_cache(
    folder: Path, examples: Examples, settings: TrainSettings, encoder: Encoder, accelerator: Accelerator,
    progress: Progress,
) -> LatentCache:  # fmt: skip
    """Return the latent cache in a folder, after encoding what it lacks.

    Processes that see the same folder share the work. A machine with a disk of its own encodes everything.

    Raises:
        UsageError: a disk has too little space.
        StorageError: a disk fails.
    """
    cache = LatentCache(folder, encoder)
    ranks = agreement.sharers(accelerator, folder)
    place, number = ranks.index(accelerator.process_index), len(ranks)
    with distributed.together(accelerator):  # nobody writes before all have looked
        photos, prompts = cache.missing(examples, settings)
        if place == 0:
            latents.require_space(folder, latents.size(photos, prompts, encoder))
    with distributed.together(accelerator):  # hours, of which some processes need more than others
        cache.fill(_share(photos, place, number), _share(prompts, place, number), encoder, progress)
    cache.refresh()  # picks up what the other processes wrote
    with distributed.together(accelerator):  # what a network file system has not shown yet
        cache.fill(*cache.missing(examples, settings), encoder, progress)
    return cache


def _digests(base: Base, controlnet: Any, settings: TrainSettings) -> dict[str, str]:
    """Return what identifies the networks of a training, by their name."""
    networks = {"the base's UNet": base.unet, "its VAE": base.vae, "the ControlNet": controlnet}
    for part, network in zip(base.family.text_encoders, base.text_encoders, strict=True):
        networks[f"its {part.folder}"] = network
    judge = settings.judge if settings.evaluate_fidelity else ""
    segmenters = {"the reward's segmenter": settings.reward, "the judge": judge}
    weights = {name: hub.locate(place, "segmenter").weights for name, place in segmenters.items() if place}
    return {name: weights_digest(network) for name, network in networks.items()} | weights


def _share(items: Sequence[Item], place: int, number: int) -> Sequence[Item]:
    """Return the part of a list for one of several processes: neighbours, since those are in the same shards."""
    return items[len(items) * place // number : len(items) * (place + 1) // number]
