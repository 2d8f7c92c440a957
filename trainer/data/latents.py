"""Latents of photos and embeddings of prompts by the frozen VAE and text encoders, and their cache.

Photos and prompts are encoded one at a time. In a batch, a result could depend on the other elements, since libraries
choose their kernels by shape; alone it is the same to the last bit, whether it is cached or computed at each step, and
however many processes share the work. Threads decode the next photos meanwhile.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segkit import storage
from segkit.errors import UsageError
from segkit.models import hub
from segkit.models.device import dtype as device_dtype
from segkit.progress import Progress
from segkit.words import data_size
from trainer.checkpoints import configs, families
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.families import Family
from trainer.checkpoints.load import Base
from trainer.data import ahead, crops
from trainer.data.buckets import fit
from trainer.data.crops import View
from trainer.data.decoder import Decoder
from trainer.data.examples import Example, Examples
from trainer.data.shards import Data
from trainer.data.tensor_store import TensorStore
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor


CacheDtype = Literal["auto", "fp32", "fp16", "bf16"]


class Encoder:
    """The VAE's encoder and the text encoders.

    Args:
        base: the base model; its VAE and text encoders are moved.
        device: device to compute on.
        dtype: dtype of the weights and the results; the weights of a VAE that overflows in fp16 are fp32.
        cache_dtype: what results are rounded to, so that a cache of this dtype holds them exactly; "auto": the dtype
            of the weights.
    """

    def __init__(
        self, base: Base, device: "torch.device", dtype: "torch.dtype", cache_dtype: CacheDtype = "auto"
    ) -> None:
        self._vae = base.vae.to(device, vae_dtype(base, dtype))
        self._text_encoders = tuple(network.to(device, dtype) for network in base.text_encoders)
        self._family, self._conditioning, self._tokenizers = base.family, base.conditioning, base.tokenizers
        self._tokens: int = base.text_encoders[0].config.max_position_embeddings
        self._device, self.dtype = device, dtype
        self.cache_dtype = dtype if cache_dtype == "auto" else device_dtype(cache_dtype)

    def photo(self, photo: "Tensor") -> "Tensor":
        """Encode a photo.

        Args:
            photo: (3, H, W), -1 to 1.

        Returns:
            (2, 4, h, w): mean and log-variance of the latents, not multiplied by the VAE's scaling factor.
        """
        import torch

        # under autocast, fp32 weights too would compute in 16 bits
        in_full = self._vae.dtype == torch.float32
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False) if in_full else nullcontext():
            latents = self._vae.encode(photo[None].to(self._device, self._vae.dtype)).latent_dist
        return self._rounded(torch.cat([latents.mean, latents.logvar]))

    def prompt(self, text: str) -> "Tensor":
        """Return the embedding of a prompt: see families.Conditioning. A prompt of more than 77 tokens is truncated."""
        import torch

        if not text and self._family.has_blank_zero:
            return torch.zeros(self._conditioning.shape(self._tokens), dtype=self.dtype, device=self._device)
        tokens = families.tokenize(self._tokenizers, text, self._tokens)
        with torch.no_grad():
            embedding = self._family.encode(self._text_encoders, [ids.to(self._device) for ids in tokens])
        return self._rounded(embedding)

    def _rounded(self, tensor: "Tensor") -> "Tensor":
        return tensor.to(self.cache_dtype).to(self.dtype)

    def drop_text_encoders(self) -> None:
        """Free the text encoders; prompts can no longer be encoded."""
        del self._text_encoders

    def decoder(self, alone: bool, resident: bool = False) -> "Decoder":
        """Return the VAE's decoder, for previews and rewards.

        Args:
            alone: the encoder is no longer needed and may be freed.
            resident: the decoder stays on the device. Otherwise, if it is alone, it waits on the CPU between uses.
        """
        if alone:
            self._vae.encoder = self._vae.quant_conv = None
        return Decoder(self._vae, self._device, "cpu" if alone and not resident else self._device)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """Return how many prompts have more tokens than the text encoders read."""
        with hub.quiet():
            input_ids = self._tokenizers[0](list(texts)).input_ids  # all have one vocabulary
        return sum(len(tokens) > self._tokens for tokens in input_ids)

    def sizes(self, pixels: int) -> tuple[int, int]:
        """Return the bytes that a photo of so many pixels takes in the cache, and those of a prompt."""
        values = 2 * self._vae.config.latent_channels * pixels // configs.vae_scale_factor(self._vae.config) ** 2
        itemsize = self.cache_dtype.itemsize
        return values * itemsize, math.prod(self._conditioning.shape(self._tokens)) * itemsize

    def folders(self) -> tuple[str, str]:
        """Return the folder names of the caches of photos and prompts, which differ for other weights or dtypes."""
        of_photos, of_prompts = (_numbers(dtype, self.cache_dtype) for dtype in (self._vae.dtype, self.dtype))
        words = "-".join(text_digests(self._family, self._text_encoders, self._tokenizers))
        return f"latents-{weights_digest(self._vae)}-{of_photos}", f"words-{words}-{of_prompts}"


def vae_dtype(base: Base, dtype: "torch.dtype") -> "torch.dtype":
    """Return the dtype of a base's VAE where the other networks have one: fp32 if it overflows in fp16."""
    import torch

    is_delicate = base.family.has_delicate_vae and base.vae.config.force_upcast
    return torch.float32 if is_delicate else dtype


def text_digests(family: Family, text_encoders: Sequence[Any], tokenizers: Sequence[Any]) -> list[str]:
    """Return hashes of a base's text encoders and their vocabularies, and of padding that a family prescribes."""
    digests = []
    for part, network, tokenizer in zip(family.text_encoders, text_encoders, tokenizers, strict=True):
        vocabulary = tokenizer.get_vocab()
        extra = [vocabulary, tokenizer.pad_token] if part.padding else vocabulary
        digests.append(weights_digest(network, extra=extra))
    return digests


def _numbers(dtype: "torch.dtype", rounded: "torch.dtype") -> str:
    """Return the part of a cache's name that says in which numbers it was computed, and to which it was rounded."""
    computed, stored = (str(one).removeprefix("torch.") for one in (dtype, rounded))
    return computed if computed == stored else f"{computed}-as-{stored}"


class LatentCache:
    """The cache of a training: latents of photos by their view, and embeddings of prompts.

    Args:
        folder: the folder of all caches.
        encoder: the encoder that fills it; each encoder has folders of its own.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._photos, self._prompts = (TensorStore(folder / name, encoder.cache_dtype) for name in encoder.folders())
        self._dtype = encoder.dtype

    def photos(self, views: Sequence[tuple[Example, View]]) -> "Tensor":
        """Return the results of Encoder.photo for photos of one bucket, (N, 2, 4, h, w)."""
        return self._photos.stack([_photo_key(example, view) for example, view in views]).to(self._dtype)

    def prompts(self, texts: Sequence[str]) -> "Tensor":
        """Return the results of Encoder.prompt, stacked."""
        return self._prompts.stack([_prompt_key(text) for text in texts]).to(self._dtype)

    def prompt(self, text: str) -> "Tensor":
        """Return the result of Encoder.prompt."""
        return self.prompts([text])[0]

    def missing(self, examples: Examples, settings: TrainSettings) -> tuple[list[tuple[Example, View]], list[str]]:
        """Return what a training needs and the cache lacks: photos with their views, and prompts."""
        views = {_photo_key(example, view): (example, view) for example, view in _views(examples, settings)}
        prompts = ["", *(example.text for example in (*examples.train, *examples.val))]  # "" for dropped prompts
        texts = {_prompt_key(text): text for text in prompts}
        return [views[key] for key in self._photos.missing(views)], [texts[key] for key in self._prompts.missing(texts)]

    def fill(
        self, photos: Sequence[tuple[Example, View]], prompts: Sequence[str], encoder: Encoder, progress: Progress
    ) -> None:
        """Encode what is missing.

        Raises:
            StorageError: the disk is full or fails; finished work stays.
            DatasetError: a photo cannot be read, or has changed.
        """
        views = {_photo_key(example, view): (example, view) for example, view in photos}
        texts = {_prompt_key(text): text for text in prompts}
        self._prompts.fill(
            [*texts],
            lambda key: encoder.prompt(texts[key]).to(encoder.cache_dtype),
            lambda done: progress("prompts to cache", done, len(texts)),
        )
        stage = f"photos to cache, {data_size(size(photos, (), encoder))}"
        # the views of a photo are neighbours: it is decoded once for all of them
        groups = [(example, [view for _, view in group]) for example, group in groupby(views.values(), itemgetter(0))]
        with ahead.fetching([example.photo for example, _ in groups]) as reached:

            def in_turn() -> Iterable[tuple[Example, list[View]]]:
                for place, group in enumerate(groups):
                    reached(place)
                    yield group

            pixels = chain.from_iterable(ahead.mapped(lambda group: crops.photo_views(*group), in_turn()))
            self._photos.fill(
                [*views],
                lambda key: encoder.photo(next(pixels)).to(encoder.cache_dtype),
                lambda done: progress(stage, done, len(views)),
            )

    def refresh(self) -> None:
        """Load what other processes have added."""
        self._photos.refresh()
        self._prompts.refresh()


def size(photos: Sequence[tuple[Example, View]], prompts: Sequence[str], encoder: Encoder) -> int:
    """Return the bytes that photos and prompts will take in the cache."""
    photo_sizes = [encoder.sizes(view.size[0] * view.size[1])[0] for _, view in photos]
    return sum(photo_sizes) + len(prompts) * encoder.sizes(0)[1]


def require_space(folder: Path, needed: int) -> None:
    """Refuse a cache that does not fit on the disk.

    Args:
        folder: where the cache will be; it need not exist.
        needed: bytes that will be written.

    Raises:
        UsageError: less space is free.
    """
    free = storage.free_space(folder)
    if needed > free:
        raise UsageError(
            f"The cache takes {data_size(needed)}, and {data_size(free)} are free at {folder}. Free some space, or "
            "use cache=False, which makes each step slower."
        )


def folder_for(examples: Examples, dataset: Data, settings: TrainSettings, run: Path) -> Path:
    """Return the folder of the caches: the one that is set, or in a dataset, where later runs find them.

    It is in the run for shards and other layouts, and for a dataset that cannot be written, such as one on a read-only
    disk.
    """
    if settings.cache_dir or examples.layout != "segkit":
        return settings.caches(run)
    shared = Path(dataset) / ".segkit" / "cache"
    folders = [shared, *(path for path in (shared.iterdir() if shared.is_dir() else ()) if path.is_dir())]
    return shared if all(map(storage.is_writable, folders)) else settings.caches(run)


def _views(examples: Examples, settings: TrainSettings) -> Iterable[tuple[Example, View]]:
    """Yield every example with each view that is cached: training photos also mirrored, if they are."""
    both = settings.flip and settings.flip_cache
    for split, mirrorings in ((examples.train, (False, True) if both else (False,)), (examples.val, (False,))):
        for example in split:
            bucket = fit(example.width, example.height, settings.resolution)
            for mirrored in mirrorings:
                yield example, crops.center_crop(example, bucket, mirrored)


def is_cached(view: View, settings: TrainSettings) -> bool:
    """Return whether a view's latents are in the cache, if there is one; others are encoded whenever they are drawn."""
    return settings.flip_cache or not view.mirrored


def _photo_key(example: Example, view: View) -> str:
    values = [example.photo_hash, example.width, example.height, view.box, view.size, view.mirrored]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def _prompt_key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
