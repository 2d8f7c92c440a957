"""Draw pictures from control maps, which are resized with NEAREST and checked again at the ControlNet's input."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit import storage
from segkit.errors import MapError, TrainingError, UsageError
from segkit.maps import codec, diagnose
from segkit.models import device, hub
from segkit.palette import UNLABELLED, Palette
from segkit.progress import NOTICE, Progress
from segkit.words import quote
from trainer import settings as run_settings
from trainer.checkpoints import find, load, quiet, runs
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import Base
from trainer.checkpoints.runs import Weights
from trainer.data import members
from trainer.data.paint import PalettePainter
from trainer.sample import recipes, sampler
from trainer.sample.recipes import Recipes
from trainer.sample.requests import DrawRequest
from trainer.settings import SD15, GenerateSettings

if TYPE_CHECKING:
    from diffusers import ControlNetModel
    from torch import Tensor

_OF_EXPORT = "Use the palette of the dataset that was exported"
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
    """

    path: Path
    request: DrawRequest
    seed: int
    reused: bool
    truncated: bool
    guess: str = ""
    step: str = ""

    @property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        with Image.open(self.path, formats=["PNG"]) as image:
            return image.convert("RGB")


@dataclass(frozen=True)
class Sources:
    """What to use a ControlNet with: base, tokenizer folder, prediction type, and palette of the maps."""

    base: str
    tokenizer: str
    prediction: str
    palette: str


@dataclass(frozen=True)
class _Job:
    request: DrawRequest
    seed: int
    size: tuple[int, int]
    path: Path
    recipe: dict[str, Any]
    done: bool


def sources(settings: GenerateSettings) -> Sources:
    """Complete the settings with those of the training run, if the ControlNet is one or comes from one.

    Raises:
        UsageError: the run's run.toml is damaged.
    """
    path = Path(settings.controlnet).expanduser()
    run = runs.containing(path) or path
    trained = run_settings.read(run / "run.toml") if (run / "run.toml").is_file() else {}
    base = str(run / "base") if (run / "base").is_dir() else trained.get("base", SD15)
    palette = str(run / "palette.csv") if (run / "palette.csv").is_file() else "ade20k"
    return Sources(
        base=settings.base or base,
        tokenizer=settings.tokenizer or trained.get("tokenizer", ""),
        prediction=settings.prediction if settings.prediction != "auto" else trained.get("prediction", "auto"),
        palette=settings.palette or palette,
    )


def palette_note(settings: GenerateSettings) -> str:
    """Return that a run was trained with another palette than the one set, as a sentence; "" if it was not.

    Raises:
        PaletteError: one of the palettes is invalid.
    """
    trained = Path(settings.controlnet).expanduser() / "palette.csv"
    if settings.allow_any_control or not settings.palette or not trained.is_file():
        return ""
    before, now = Palette.load(trained), Palette.load(settings.palette)
    if before.hash == now.hash:
        return ""
    old, new = ([(swatch.name, swatch.rgb) for swatch in palette] for palette in (before, now))
    first = next(index for index in range(len(old) + 1) if old[index : index + 1] != new[index : index + 1])
    return (
        f"{settings.controlnet} was trained with another palette ({len(before)} classes) than {settings.palette} "
        f"({len(now)}); they differ from class {first} on, and it knows the colours of its own only. Leave palette "
        "out to use that."
    )


def generate(
    requests: Sequence[DrawRequest], output: Path, settings: GenerateSettings, progress: Progress, overwrite: bool
) -> list[Picture]:
    """Draw every request with every seed. Pictures that exist with an equal recipe are reused.

    Args:
        requests: maps and prompts.
        output: folder for the pictures, NAME-SEED.png.
        settings: networks, seeds and sampling.
        progress: called with ("pictures", done, total).
        overwrite: replace other files with the pictures' names.

    Raises:
        MapError: a map has off-palette pixels.
        ModelError: a network is missing, damaged or of another architecture.
        UsageError: a file with a picture's name exists and is something else.
        TrainingError: the GPU has too little memory.
    """
    import torch

    source = sources(settings)
    palette = None if settings.allow_any_control else Palette.load(source.palette)
    weights = find.find_networks(source.base, settings.controlnet, _INSTEAD)  # before the maps are decoded
    sizes = [_require_drawable(request, palette, settings.resolution) for request in requests]
    pictures = []
    with quiet.diffusers():
        generator = _Generator(source, settings, palette, weights)
        for note in filter(None, (generator.step, generator.guess)):
            progress(NOTICE, 0, 0, note)
        jobs = [
            generator.job(request, seed, size, output)
            for request, size in zip(requests, sizes, strict=True)
            for seed in range(settings.seed, settings.seed + settings.count)
        ]
        if not overwrite:
            _require_free(jobs)
        for done, job in enumerate(jobs):
            progress("pictures", done, len(jobs))
            if not job.done:
                try:
                    storage.write(job.path, recipes.encode(generator.draw(job.request, job.seed, job.size), job.recipe))
                except torch.OutOfMemoryError:
                    smaller = max(256, settings.resolution // 128 * 64)
                    raise TrainingError(f"The GPU ran out of memory. Try resolution={smaller} or device=cpu.") from None
            truncated = generator.is_truncated(job.request.prompt)
            pictures.append(
                Picture(job.path, job.request, job.seed, job.done, truncated, generator.guess, generator.step)
            )
    progress("pictures", len(jobs), len(jobs))
    return pictures


def _require_free(jobs: Sequence[_Job]) -> None:
    taken = [job.path for job in jobs if job.path.exists() and not job.done]
    if taken:
        raise UsageError(
            f"{len(taken)} of {len(jobs)} pictures would replace other files, such as {taken[0]}. Choose another "
            "output folder, or pass overwrite=True."
        )


def _require_drawable(request: DrawRequest, palette: Palette | None, resolution: int) -> tuple[int, int]:
    """Check a map's colours, and return the width and height of its picture."""
    image = _read(request)
    if palette:
        _labels(request, image, palette)
    return size_for(*image.size, resolution)


def _read(request: DrawRequest) -> Image.Image:
    try:
        return members.open_map(request.control_map)
    except MapError as error:
        raise MapError(f"{request.control_map} {error}") from None


def _labels(request: DrawRequest, image: Image.Image, palette: Palette) -> codec.Labels:
    path = request.control_map
    labels, off = codec.read(image, palette)
    fix = f"Fix it: segkit snap {quote(path)} -o fixed.png" if isinstance(path, Path) else _OF_EXPORT
    if off:
        raise MapError(
            f"{path}: {off:,} of {labels.size:,} pixels are off the palette {palette.name}. {fix} (for control images "
            "that are not maps: allow_any_control=True)"
        )
    if reason := diagnose.suspicion(image, labels, palette):
        cure = f"{fix} (if it is right as it is, with --from exact)"
        blank = f"Paint its areas in colours of the palette {palette.name}."
        raise MapError(f"{path}: {reason}. {blank if (labels == UNLABELLED).all() else cure}")
    return labels


def size_for(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Return width and height of a map's picture: multiples of 8, at least 64, with the area of resolution squared.

    A resolution of 0 keeps the map's size, rounded to multiples of 8.
    """
    scale = resolution / (width * height) ** 0.5 if resolution else 1.0
    scaled_width, scaled_height = (max(64, round(side * scale / 8) * 8) for side in (width, height))
    return scaled_width, scaled_height


def _digests(base: Base, controlnet: "ControlNetModel") -> list[str]:
    """Return hashes of all that determines the networks' outputs: weights, configurations, vocabulary, prediction type.

    In threads: hashing releases the interpreter, and Stable Diffusion with a ControlNet is 5.7 GB in fp32.
    """
    networks = (
        (base.unet, base.prediction), (base.vae, ""), (base.text_encoder, base.tokenizer.get_vocab()), (controlnet, ""),
    )  # fmt: skip
    with ThreadPoolExecutor(len(networks)) as threads:
        return list(threads.map(lambda network: weights_digest(network[0], extra=network[1]), networks))


class _Generator:
    """The networks in diffusers' pipeline, with a check of every control image that the ControlNet receives."""

    def __init__(
        self, source: Sources, settings: GenerateSettings, palette: Palette | None, weights: Weights | None
    ) -> None:
        self._settings, self._palette, self._paint = settings, palette, PalettePainter(palette)
        self._device = device.resolve(settings.device, settings.precision)
        prediction: Any = None if source.prediction == "auto" else source.prediction
        base = load.load_base(source.base, source.tokenizer, prediction)
        controlnet = load.load_controlnet(weights or find.FRESH, base).eval()
        self.guess = base.guess.sentence if base.guess else ""
        self.step = weights.note if weights else ""
        digests = _digests(base, controlnet)  # before the pipeline casts them
        self._recipes = Recipes(settings, palette, self._device.precision, digests)
        self._tokenizer = base.tokenizer
        self._pipeline = self._build_pipeline(base, controlnet)
        controlnet.register_forward_pre_hook(self._check_control, with_kwargs=True)
        self._checked: Any = None

    def _build_pipeline(self, base: Base, controlnet: "ControlNetModel") -> Any:
        import torch

        with hub.quiet():  # transformers warns about unused optional packages when this is imported
            from diffusers import StableDiffusionControlNetPipeline

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self._device.precision]
        with hub.quiet():
            pipeline = StableDiffusionControlNetPipeline(
                vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet,
                controlnet=controlnet, scheduler=sampler.scheduler(base.prediction), safety_checker=None,
                feature_extractor=None, requires_safety_checker=False,
            )  # fmt: skip
            pipeline.set_progress_bar_config(disable=True)
            return pipeline.to(self._device.name, dtype)

    def job(self, request: DrawRequest, seed: int, size: tuple[int, int], output: Path) -> _Job:
        """Return what to draw, and whether it has been drawn already."""
        path = output / f"{request.name}-{seed}.png"
        recipe = self._recipes.recipe(request, seed, size)
        return _Job(request, seed, size, path, recipe, done=recipes.read(path) == recipe)

    def is_truncated(self, prompt: str) -> bool:
        """Return whether a prompt has more tokens than CLIP reads."""
        with hub.quiet():
            count = len(self._tokenizer(prompt).input_ids)
        return bool(count > self._tokenizer.model_max_length)

    def draw(self, request: DrawRequest, seed: int, size: tuple[int, int]) -> Image.Image:
        """Draw one picture of a width and height.

        One at a time, and with a CPU generator: a picture depends on its seed, not on the others of a batch.
        """
        import torch

        settings, (width, height) = self._settings, size
        control = self._painted(request, size)
        with torch.inference_mode(), hub.quiet(), self._device.exact():
            output = self._pipeline(
                request.prompt, control, width=width, height=height, num_inference_steps=settings.steps,
                guidance_scale=settings.guidance, negative_prompt=settings.negative or None,
                generator=torch.Generator().manual_seed(seed), controlnet_conditioning_scale=settings.strength,
            )  # fmt: skip
        picture: Image.Image = output.images[0]
        return picture

    def _painted(self, request: DrawRequest, size: tuple[int, int]) -> "Tensor":
        """Return a map in a size, painted with the palette, (1, 3, H, W), 0 to 1."""
        import torch

        image = _read(request)
        if self._palette is None:
            pixels = np.asarray(image.convert("RGB").resize(size, Resampling.NEAREST))
        else:
            labels = Image.fromarray(_labels(request, image, self._palette))
            pixels = np.asarray(labels.resize(size, Resampling.NEAREST))
        return self._paint(torch.from_numpy(pixels.copy())[None])

    def _check_control(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Check the ControlNet's input, once per picture: the pipeline may have resized or cast it."""
        control = kwargs["controlnet_cond"]
        if self._palette is None or control is self._checked:  # the same tensor at every sampling step
            return
        tolerance = 1e-4 if self._device.precision == "fp32" else 0.5
        self._paint.require_exact(self._paint.count_off_palette(control.cpu(), tolerance))
        self._checked = control
