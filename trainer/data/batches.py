"""Batches: what a step sees, the maps as class indices.

All that is drawn for a photo (mirroring, dropout, noise, time) is a function of the seed, the batch's number and
the photo's place in it over all processes: a resumed run goes on exactly, and two processes see what one of twice the
batch sees.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segkit.errors import DatasetError
from segkit.palette import Palette
from trainer.data import crops, repeat_factors, runlength
from trainer.data.buckets import BatchOrder, fit
from trainer.data.crops import View
from trainer.data.examples import Example
from trainer.data.latents import LatentCache
from trainer.data.runlength import RunLengthMap
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AHEAD = 2
"""Batches that are read while the network works."""

MAPS = 16_384
"""Control maps that stay in memory once they are read, as runs: some 10 kB each."""

_PICTURE, _NOISE = 0, 1  # what a stream of random numbers is for


def unaugmented(settings: TrainSettings) -> TrainSettings:
    """Return the settings of batches that are only looked at: one photo each, as it is, the same in every run."""
    return replace(settings, batch_size=1, flip=False, prompt_dropout=0.0, seed=0, balance=False)


@dataclass(frozen=True)
class Pick:
    """A photo of a batch: the example, how it is seen, and its prompt, perhaps emptied."""

    example: Example
    view: View
    text: str


@dataclass(frozen=True)
class Batch:
    """Some photos, all of one size.

    Attributes:
        photos: (B, 3, H, W) float32, -1 to 1; None with a cache.
        moments: (B, 2, 4, h, w) mean and log-variance of their latents (Encoder.photo); None without a cache.
        encoder_hidden_states: (B, 77, width) of the text encoder; None without a cache.
        controls: uint8, (B, H, W) class indices, or (B, H, W, 3) RGB of control pictures that are no maps.
        texts: B prompts, some emptied.
        generators: B generators of random numbers for the noise.
    """

    photos: "Tensor | None"
    moments: "Tensor | None"
    encoder_hidden_states: "Tensor | None"
    controls: "Tensor"
    texts: list[str]
    generators: list["torch.Generator"]

    def require_photos(self) -> "Tensor":
        """Return the photos of a batch that came without a cache."""
        if self.photos is None:
            raise ValueError("a batch from the cache has no photos")
        return self.photos


class Batches:
    """The batches of one process, one after another.

    Args:
        examples: what is trained on.
        table: the maps' palette; None for control pictures that are no maps.
        settings: of the training.
        encodings: the cache; None to do without.
        share: which process of how many this is.
        control_examples: whose control map each example is given; None for its own.

    Raises:
        DatasetError: fewer examples than a batch of all processes.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        table: Palette | None,
        settings: TrainSettings,
        encodings: LatentCache | None = None,
        share: tuple[int, int] = (0, 1),
        control_examples: Sequence[Example] | None = None,
    ) -> None:
        self._settings, self._encodings, (self._rank, world) = settings, encodings, share
        self._lenders = dict(zip(examples, control_examples or examples, strict=True))
        whole = settings.batch_size * world
        if len(examples) < whole:
            raise DatasetError(
                f"{len(examples)} triples are fewer than a batch of {settings.batch_size} on {world} processes. "
                f"Type --batch-size {max(1, len(examples) // world)}, or add photos."
            )
        self._examples, self._table = examples, table
        self._runs = lru_cache(maxsize=MAPS)(self._read)
        self._sizes = [fit(each.width, each.height, settings.resolution) for each in examples]
        weights = repeat_factors.weights(examples, table) if settings.balance else None
        self.order = BatchOrder(self._sizes, whole, settings.seed, weights)

    def starting_at(self, number: int) -> Iterator[Batch]:
        """Yield the batch of this number, counted from 0 over all epochs, and those after it, without end."""
        with ThreadPoolExecutor(AHEAD) as pool:
            waiting: list[Future[Batch]] = []
            try:
                while True:
                    while len(waiting) <= AHEAD:
                        waiting.append(pool.submit(self.batch, number))
                        number += 1
                    yield waiting.pop(0).result()
            finally:
                for each in waiting:
                    each.cancel()

    def picks(self, number: int) -> list[Pick]:
        """Return what the batch of this number is made of, before anything is read."""
        settings, places, found = self._settings, self.order[number], []
        for slot in self._slots():
            example, size = self._examples[places[slot]], self._sizes[places[slot]]
            random = np.random.default_rng([settings.seed, number, slot, _PICTURE])
            view = crops.center_crop(example, size, random.random() < 0.5 and settings.flip)
            found.append(Pick(example, view, "" if random.random() < settings.prompt_dropout else example.text))
        return found

    def batch(self, number: int) -> Batch:
        """Return the batch of this number."""
        import torch

        kept, picks = self._encodings, self.picks(number)
        seen = [(each.example, each.view) for each in picks]
        texts = [each.text for each in picks]
        return Batch(
            None if kept else torch.stack([crops.photo(*each) for each in seen]),
            kept.photos(seen) if kept else None,
            kept.prompts(texts) if kept else None,
            torch.from_numpy(np.stack([self._control(each) for each in picks])),
            texts,
            [_generator(self._settings.seed, number, slot) for slot in self._slots()],
        )

    def _slots(self) -> range:
        """Return this process's places in a batch of all processes."""
        size = self._settings.batch_size
        return range(self._rank * size, (self._rank + 1) * size)

    def _control(self, pick: Pick) -> NDArray[np.uint8]:
        lender, view = self._lenders[pick.example], pick.view
        if lender is not pick.example:
            view = crops.center_crop(lender, view.size, view.mirrored)
        if self._table is None:
            return crops.control_map(lender, view, None)
        labels = self._runs(lender, replace(view, mirrored=False)).pixels()
        return labels[:, ::-1] if view.mirrored else labels

    def _read(self, example: Example, view: View) -> RunLengthMap:
        return runlength.encode(crops.control_map(example, view, self._table))


def _generator(seed: int, number: int, slot: int) -> "torch.Generator":
    import torch

    words = np.random.SeedSequence([seed, number, slot, _NOISE]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
