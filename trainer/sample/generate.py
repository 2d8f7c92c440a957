"""Pictures drawn from control maps: each sized by us with NEAREST, and looked at again where the network takes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling
from PIL.PngImagePlugin import PngInfo

from segkit import maps, storage
from segkit.errors import MapError, TrainingError, UsageError
from segkit.maps import codec
from segkit.models import device, hub
from segkit.palette import Palette
from segkit.progress import Progress
from trainer import settings
from trainer.checkpoints import load
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import Base
from trainer.data.paint import PalettePainter
from trainer.sample import sampler
from trainer.sample.requests import DrawRequest
from trainer.settings import SD15, GenerateSettings

if TYPE_CHECKING:
    from diffusers import ControlNetModel
    from torch import Tensor

_RECIPE = "segkit"
"""The PNG text chunk that tells what a picture was drawn from."""


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        path: its file.
        scene: what it shows.
        seed: of its noise.
        kept: whether it was there already.
        cut: whether the prompt is longer than CLIP reads; its end was not heard.
    """

    path: Path
    scene: DrawRequest
    seed: int
    kept: bool
    cut: bool

    @property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        with Image.open(self.path, formats=["PNG"]) as image:
            return image.convert("RGB")


@dataclass(frozen=True)
class Sources:
    """What a ControlNet is used with: base, tokenizer, prediction, and the table of its maps' colours."""

    base: str
    tokenizer: str
    prediction: str
    palette: str


def sources(given: GenerateSettings) -> Sources:
    """Complete what was asked for with what the run knows, if --controlnet is one.

    Raises:
        UsageError: its run.toml is damaged.
    """
    run = Path(given.controlnet).expanduser()
    known = settings.read(run / "run.toml") if (run / "run.toml").is_file() else {}
    base = str(run / "base") if (run / "base").is_dir() else known.get("base", SD15)
    table = str(run / "palette.csv") if (run / "palette.csv").is_file() else "ade20k"
    prediction = given.prediction if given.prediction != "auto" else known.get("prediction", "auto")
    return Sources(
        given.base or base, given.tokenizer or known.get("tokenizer", ""), prediction, given.palette or table
    )


def generate(
    scenes: Sequence[DrawRequest], output: Path, given: GenerateSettings, progress: Progress, overwrite: bool
) -> list[Picture]:
    """Draw each scene with each seed. A picture that was drawn so before is kept.

    Args:
        scenes: what to draw.
        output: folder of the pictures, NAME-SEED.png.
        given: with what, and how.
        progress: see segkit.progress.
        overwrite: whether other files of those names are replaced.

    Raises:
        MapError: a map is off the palette.
        ModelError: a network is missing, damaged or of another kind.
        UsageError: a file of that name is something else.
        TrainingError: the GPU's memory is too small.
    """
    import torch
    from diffusers.utils import logging

    logging.set_verbosity_error()
    source = sources(given)
    table = None if given.allow_any_control else Palette.load(source.palette)
    sizes = [_require_drawable(scene, table, given.resolution) for scene in scenes]
    artist = _Artist(source, given, table)
    plan = [
        (scene, seed, output / f"{scene.name}-{seed}.png", artist.recipe(scene, seed, size))
        for scene, size in zip(scenes, sizes, strict=True)
        for seed in range(given.seed, given.seed + given.count)
    ]
    made = [_recipe_of(path) == recipe for _, _, path, recipe in plan]
    taken = [path for (_, _, path, _), same in zip(plan, made, strict=True) if path.exists() and not same]
    if taken and not overwrite:
        raise UsageError(
            f"{len(taken)} of {len(plan)} pictures would replace others, such as {taken[0]}. Name another -o, or type "
            "--overwrite."
        )
    pictures = []
    for done, ((scene, seed, path, recipe), same) in enumerate(zip(plan, made, strict=True)):
        progress("pictures", done, len(plan))
        if not same:
            try:
                storage.write(path, _encoded(artist.draw(scene, seed, recipe["size"]), recipe))
            except torch.OutOfMemoryError:
                smaller = max(256, given.resolution // 128 * 64)
                raise TrainingError(
                    f"The GPU's memory is too small. Try --resolution {smaller} or --device cpu."
                ) from None
        pictures.append(Picture(path, scene, seed, same, artist.is_cut(scene.prompt)))
    progress("pictures", len(plan), len(plan))
    return pictures


def _require_drawable(scene: DrawRequest, table: Palette | None, resolution: int) -> tuple[int, int]:
    """Return the size that a map is drawn in; it must be a map."""
    image = _read(scene)
    if table:
        _labels(scene, image, table)
    return size_for(*image.size, resolution)


def _read(scene: DrawRequest) -> Image.Image:
    try:
        return maps.read(scene.control_map)
    except MapError as error:
        raise MapError(f"{scene.control_map} {error}") from None


def _labels(scene: DrawRequest, image: Image.Image, table: Palette) -> codec.Labels:
    labels, off = codec.read(image, table)
    if off:
        raise MapError(
            f"{scene.control_map}: {off:,} of {labels.size:,} pixels are off the palette {table.name}. Mend it: segkit "
            f"snap {scene.control_map} -o mended.png. For control pictures that are no maps: --allow-any-control"
        )
    return labels


def size_for(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Return the size of a picture for a map: both sides multiples of 8, as many pixels as a square of a resolution.

    A resolution of 0 keeps the map's own size, but for the multiples of 8.
    """
    scale = resolution / (width * height) ** 0.5 if resolution else 1.0
    across, down = (max(64, round(side * scale / 8) * 8) for side in (width, height))
    return across, down


class _Artist:
    """The networks, ready to draw."""

    def __init__(self, source: Sources, given: GenerateSettings, table: Palette | None) -> None:
        self._given, self._table, self._paint = given, table, PalettePainter(table)
        self._device = device.resolve(given.device, given.precision)
        prediction: Any = None if source.prediction == "auto" else source.prediction
        base = load.load_base(source.base, source.tokenizer, prediction)
        controlnet = load.load_controlnet(given.controlnet, base).eval()
        self._weights = [
            weights_digest(part, sample=256) for part in (base.unet, base.vae, base.text_encoder, controlnet)
        ]
        self._tokenizer = base.tokenizer
        self._pipeline = self._assembled(base, controlnet)
        controlnet.register_forward_pre_hook(self._look, with_kwargs=True)
        self._looked_at: Any = None

    def _assembled(self, base: Base, controlnet: "ControlNetModel") -> Any:
        import torch

        with hub.quiet():  # importing alone makes transformers tell of what is not needed here
            from diffusers import StableDiffusionControlNetPipeline

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self._device.precision]
        with hub.quiet():
            scheduler = sampler.scheduler(base.prediction)
            pipeline = StableDiffusionControlNetPipeline(
                vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet,
                controlnet=controlnet, scheduler=scheduler, safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            )  # fmt: skip
            pipeline.set_progress_bar_config(disable=True)
            return pipeline.to(self._device.name, dtype)

    def recipe(self, scene: DrawRequest, seed: int, size: tuple[int, int]) -> dict[str, Any]:
        """Return all that a picture depends on."""
        given = self._given
        return {
            "prompt": scene.prompt, "negative": given.negative, "seed": seed, "size": list(size), "steps": given.steps,
            "guidance": given.guidance, "strength": given.strength, "precision": self._device.precision,
            "map_sha256": storage.sha256(scene.control_map.read_bytes()),
            "palette_hash": self._table.hash if self._table else "none", "weights": self._weights,
        }  # fmt: skip

    def is_cut(self, prompt: str) -> bool:
        """Tell whether a prompt is longer than CLIP reads."""
        with hub.quiet():
            count = len(self._tokenizer(prompt).input_ids)
        return bool(count > self._tokenizer.model_max_length)

    def draw(self, scene: DrawRequest, seed: int, size: Sequence[int]) -> Image.Image:
        """Draw a scene in a size, alone: equal seeds give equal pictures, whatever else is drawn."""
        import torch

        given = self._given
        sized = self._painted(scene, (size[0], size[1]))
        with torch.inference_mode(), hub.quiet(), self._device.exact():
            drawn = self._pipeline(
                scene.prompt, sized, width=size[0], height=size[1], num_inference_steps=given.steps,
                guidance_scale=given.guidance, negative_prompt=given.negative or None,
                generator=torch.Generator().manual_seed(seed), controlnet_conditioning_scale=given.strength,
            )  # fmt: skip
        picture: Image.Image = drawn.images[0]
        return picture

    def _painted(self, scene: DrawRequest, size: tuple[int, int]) -> "Tensor":
        """Return a map in a size, (1, 3, H, W), 0 to 1."""
        import torch

        image = _read(scene)
        if self._table is None:
            pixels = np.asarray(image.convert("RGB").resize(size, Resampling.NEAREST))
        else:
            labels = Image.fromarray(_labels(scene, image, self._table))
            pixels = np.asarray(labels.resize(size, Resampling.NEAREST))
        return self._paint(torch.from_numpy(pixels.copy())[None])

    def _look(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Look at what the ControlNet is given, once a picture, wherever it came through."""
        seen = kwargs["controlnet_cond"]
        if self._table is None or seen is self._looked_at:
            return
        tolerance = 1e-4 if self._device.precision == "fp32" else 0.5
        self._paint.require_exact(self._paint.count_off_palette(seen.cpu(), tolerance))
        self._looked_at = seen


def _encoded(picture: Image.Image, recipe: dict[str, Any]) -> bytes:
    told = PngInfo()
    told.add_itxt(_RECIPE, json.dumps(recipe))
    buffer = BytesIO()
    picture.save(buffer, "PNG", pnginfo=told)
    return buffer.getvalue()


def _recipe_of(path: Path) -> Any:
    """Return what a picture says it was drawn from; None if it says nothing."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return json.loads(str(image.info[_RECIPE]))
    except Exception:  # whatever else stands there is not ours
        return None
