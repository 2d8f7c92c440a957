"""What the frozen VAE and text encoder make of photos and prompts, and its cache.

One photo and one prompt at a time: what becomes of it must not depend on what else is in a batch, so that a training
sees the same numbers, to the last bit, whether they come from the cache or are worked out as they are needed.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from segkit.errors import UsageError
from segkit.models import hub
from segkit.progress import Progress
from trainer.checkpoints import configs
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import Base
from trainer.data import crops
from trainer.data.buckets import fit
from trainer.data.crops import View
from trainer.data.examples import Example, Examples
from trainer.data.tensor_store import TensorStore
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL
    from torch import Tensor


class Encoder:
    """The VAE's encoder and the text encoder.

    Args:
        base: its VAE and text encoder are moved.
        device: where they work.
        dtype: of their weights, and of what they say.
    """

    def __init__(self, base: Base, device: "torch.device", dtype: "torch.dtype") -> None:
        self._vae, self._text_encoder = base.vae.to(device, dtype), base.text_encoder.to(device, dtype)
        self._tokenizer, self._device, self.dtype = base.tokenizer, device, dtype

    def photo(self, photo: "Tensor") -> "Tensor":
        """Return mean and log-variance of a photo's latents, unscaled: (3, H, W), -1 to 1, to (2, 4, h, w)."""
        import torch

        with torch.no_grad():
            latents = self._vae.encode(photo[None].to(self._device, self.dtype)).latent_dist
        return torch.cat([latents.mean, latents.logvar])

    def prompt(self, text: str) -> "Tensor":
        """Return what the text encoder makes of a prompt, (77, width); a longer one is cut."""
        import torch

        tokens = self._tokenizer(
            text, padding="max_length", truncation=True, max_length=self._text_encoder.config.max_position_embeddings,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            words: Tensor = self._text_encoder(tokens.input_ids.to(self._device))[0][0]
        return words

    def decoder(self, alone: bool) -> "Decoder":
        """Return the VAE's other half, for latents to be looked at.

        Args:
            alone: this half is not needed any more; it leaves the memory.
        """
        if alone:
            self._vae.encoder = self._vae.quant_conv = None
        return Decoder(self._vae, self._device, "cpu" if alone else self._device)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many prompts are longer than the text encoder reads: their ends are not learnt from."""
        most = self._text_encoder.config.max_position_embeddings
        with hub.quiet():
            found = self._tokenizer(list(texts)).input_ids
        return sum(len(tokens) > most for tokens in found)

    def sizes(self, pixels: int) -> tuple[int, int]:
        """Return the bytes that a photo of so many pixels, and a prompt, take in the cache."""
        photo = 2 * self._vae.config.latent_channels * pixels // configs.vae_scale_factor(self._vae.config) ** 2
        words = self._text_encoder.config
        return photo * self.dtype.itemsize, words.max_position_embeddings * words.hidden_size * self.dtype.itemsize

    def folders(self) -> tuple[str, str]:
        """Return names for the caches of photos and prompts: other weights or arithmetic, other names."""
        kind = str(self.dtype).removeprefix("torch.")
        vae = weights_digest(self._vae)
        words = weights_digest(self._text_encoder, extra=self._tokenizer.get_vocab())
        return f"latents-{vae}-{kind}", f"words-{words}-{kind}"


class Decoder:
    """The VAE's decoder.

    Args:
        vae: it is moved.
        device: where it works.
        home: where it waits.
    """

    def __init__(self, vae: "AutoencoderKL", device: "torch.device", home: "torch.device | str") -> None:
        self._vae, self._device, self._home = vae.to(home), device, home
        self._dtype = vae.dtype

    def picture(self, latents: "Tensor") -> Image.Image:
        """Return the picture of latents as a UNet has them: (4, h, w), scaled; RGB, 8h x 8w.

        What does not fit into the device's memory is worked out on the CPU.
        """
        import torch

        try:
            pixels = self._decoded(latents, self._device)
        except torch.OutOfMemoryError:
            pixels = self._decoded(latents, torch.device("cpu"))
        finally:
            self._vae.to(self._home, self._dtype)
        scaled = ((pixels.float().cpu() + 1) * 127.5).round().clamp(0, 255).byte()
        return Image.fromarray(scaled.permute(1, 2, 0).numpy())

    def _decoded(self, latents: "Tensor", device: "torch.device") -> "Tensor":
        import torch

        dtype = torch.float32 if device.type == "cpu" else self._dtype  # few CPUs have bf16, none has fp16
        vae = self._vae.to(device, dtype)
        with torch.no_grad():
            unscaled = latents[None].to(device, dtype) / vae.config.scaling_factor
            found: Tensor = vae.decode(unscaled, return_dict=False)[0][0]
        return found


class LatentCache:
    """The cache of a training: photos by their view, and prompts.

    Args:
        folder: of all caches.
        encoder: what made them.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._photos, self._prompts = (TensorStore(folder / name, encoder.dtype) for name in encoder.folders())

    def photos(self, seen: Sequence[tuple[Example, View]]) -> "Tensor":
        """Return what Encoder.photo says of photos, seen so: (N, 2, 4, h, w)."""
        return self._photos.stack([_photo_key(*each) for each in seen])

    def prompts(self, texts: Sequence[str]) -> "Tensor":
        """Return what Encoder.prompt says of prompts, (N, 77, width)."""
        return self._prompts.stack([_prompt_key(text) for text in texts])

    def prompt(self, text: str) -> "Tensor":
        """Return what Encoder.prompt says, (77, width)."""
        return self.prompts([text])[0]

    def missing(self, found: Examples, settings: TrainSettings) -> tuple[list[tuple[Example, View]], list[str]]:
        """Return what a training needs and the cache lacks: photos with their views, and prompts."""
        seen = {_photo_key(*each): each for each in _seen(found, settings)}
        said = {_prompt_key(text): text for text in ["", *(each.text for each in (*found.train, *found.val))]}
        return [seen[key] for key in self._photos.missing(seen)], [said[key] for key in self._prompts.missing(said)]

    def fill(
        self, photos: Sequence[tuple[Example, View]], prompts: Sequence[str], encoder: Encoder, progress: Progress
    ) -> None:
        """Work out what is missing.

        Raises:
            StorageError: the disk refuses; what was kept stays.
            DatasetError: a photo cannot be read any more.
        """
        seen = {_photo_key(*each): each for each in photos}
        said = {_prompt_key(text): text for text in prompts}
        self._prompts.fill(
            [*said], lambda key: encoder.prompt(said[key]), lambda done: progress("prompts to cache", done, len(said))
        )
        stage = f"photos to cache, {size(photos, (), encoder) / 1e6:,.0f} MB"
        self._photos.fill(
            [*seen], lambda key: encoder.photo(crops.photo(*seen[key])), lambda done: progress(stage, done, len(seen))
        )

    def refresh(self) -> None:
        """See what other processes have added."""
        self._photos.refresh()
        self._prompts.refresh()


def size(photos: Sequence[tuple[Example, View]], prompts: Sequence[str], encoder: Encoder) -> int:
    """Return the bytes that these will take on the disk."""
    parts = [encoder.sizes(view.size[0] * view.size[1])[0] for _, view in photos]
    return sum(parts) + len(prompts) * encoder.sizes(0)[1]


def require_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        UsageError: it cannot.
    """
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UsageError(
            f"The cache takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {folder}. Free some space, or "
            "type --no-cache, which takes longer at each step."
        )


def folder_for(found: Examples, dataset: Path, run: Path) -> Path:
    """Return where a dataset's caches are: in it, so that the next run has them too; in the run for other layouts."""
    return dataset / ".segkit" / "cache" if found.layout == "segkit" else run / "cache"


def _seen(found: Examples, settings: TrainSettings) -> Iterable[tuple[Example, View]]:
    """Yield the examples with the views that a training takes of them."""
    for examples, ways in ((found.train, (False, True) if settings.flip else (False,)), (found.val, (False,))):
        for each in examples:
            for mirrored in ways:
                yield each, crops.center_crop(each, fit(each.width, each.height, settings.resolution), mirrored)


def _photo_key(example: Example, view: View) -> str:
    told = [example.photo_hash, example.width, example.height, view.box, view.size, view.mirrored]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _prompt_key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
