"""Batches of photos, prompts and control maps; the maps are class indices.

Every random draw for a photo (mirroring, prompt dropout, reward, noise, timestep) is a function of the seed, the
batch's number and the photo's slot in the batch over all processes. A resumed run therefore continues bit for bit, and
two processes see the same data as one process with twice the batch size.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segkit import threads
from segkit.errors import DatasetError
from segkit.palette import Palette
from segkit.words import are, count
from trainer.data import ahead, crops, repeat_factors, runlength
from trainer.data.buckets import BatchOrder, fit
from trainer.data.crops import View
from trainer.data.examples import Example
from trainer.data.latents import LatentCache, is_cached
from trainer.data.runlength import RunLengthMap
from trainer.settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AHEAD = 2
"""Batches that are read ahead while the network computes."""

FETCHED_AHEAD = 16
"""Batches whose pictures are fetched ahead if they are in remote shards."""

MAPS = 16_384
"""Control maps that stay in memory, run-length encoded: about 10 kB each."""

# separate random streams: mirroring and dropout; noise and timestep; which photos are rewarded
_VIEW, _NOISE, _REWARD = 0, 1, 2


def unaugmented(settings: TrainSettings) -> TrainSettings:
    """Return settings for previews and validation: batches of one photo, no augmentation, the same in every run."""
    settings = settings.without_reward()
    return replace(settings, batch_size=1, flip=False, prompt_dropout=0.0, seed=0, balance=False)


@dataclass(frozen=True)
class Pick:
    """One photo of a batch before anything is read.

    Attributes:
        example: the example.
        view: its crop and mirroring.
        text: its prompt, or "" if it was dropped.
    """

    example: Example
    view: View
    text: str


@dataclass(frozen=True)
class Batch:
    """A batch of photos of one size.

    Attributes:
        photos: (N, 3, H, W) float32, -1 to 1: those of the photos whose latents are not cached; None if all are.
        moments: (B - N, 2, 4, h, w) mean and log-variance of the latents (see Encoder.photo) of the others; None if
            there are none.
        prompts: embeddings of the prompts, stacked (see families.Conditioning); None without a cache.
        controls: (B, H, W) uint8 class indices, or (B, H, W, 3) uint8 RGB of control pictures that are not maps.
        texts: B prompts; dropped ones are "".
        generators: B random generators for noise and timestep.
        time_ids: (B, 6) float32, size and crop of each photo: see crops.time_ids.
        rewarded: (B,) bool, which photos are rewarded; None without a reward.
        cached: (B,) bool, which photos' latents are cached; None if all or none are.
    """

    photos: "Tensor | None"
    moments: "Tensor | None"
    prompts: "Tensor | None"
    controls: "Tensor"
    texts: list[str]
    generators: list["torch.Generator"]
    time_ids: "Tensor"
    rewarded: "Tensor | None" = None
    cached: "Tensor | None" = None

    def require_photos(self) -> "Tensor":
        """Return the photos whose latents are not cached."""
        if self.photos is None:
            raise ValueError("A batch whose latents are all cached has no photos.")
        return self.photos

    def require_rewarded(self) -> "Tensor":
        """Return which photos are rewarded."""
        if self.rewarded is None:
            raise ValueError("A batch of a training without a reward has no rewarded photos.")
        return self.rewarded


def require_batch(examples: Sequence[Example], settings: TrainSettings, world: int) -> None:
    """Refuse fewer examples than a batch of all processes has.

    Raises:
        DatasetError: there are too few.
    """
    if len(examples) < settings.batch_size * world:
        raise DatasetError(
            f"{are(len(examples), 'triple')} fewer than a batch of {settings.batch_size} on {count(world, 'process')}. "
            f"Use batch_size={max(1, len(examples) // world)}, or add photos."
        )


class Batches:
    """The batches of one process, in order.

    Args:
        examples: the examples to train on.
        palette: palette of the control maps; None for control pictures that are not segmentation maps.
        settings: the training's settings.
        cache: cached latents and prompt embeddings; None reads photos.
        share: rank of this process and number of processes.
        control_examples: the example whose control map is shown with each photo; None for its own.

    Raises:
        DatasetError: there are fewer examples than a batch over all processes needs.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        palette: Palette | None,
        settings: TrainSettings,
        cache: LatentCache | None = None,
        share: tuple[int, int] = (0, 1),
        control_examples: Sequence[Example] | None = None,
    ) -> None:
        self._settings, self._cache, (self._rank, self._world) = settings, cache, share
        self._control_examples = dict(zip(examples, control_examples or examples, strict=True))
        require_batch(examples, settings, self._world)
        self._examples, self._palette = examples, palette
        self._runs = lru_cache(maxsize=MAPS)(self._read)
        self._sizes = [fit(example.width, example.height, settings.resolution) for example in examples]
        weights = repeat_factors.weights(examples, palette) if settings.balance else None
        self.order = BatchOrder(self._sizes, settings.batch_size * self._world, settings.seed, weights)

    def starting_at(self, number: int) -> Iterator[Batch]:
        """Yield batches without end, starting with this number; batches are counted from 0 over all epochs.

        AHEAD batches are read by threads while the caller works on the current one. The order of reading does not
        affect the content, since every batch has its own random streams.
        """
        with ThreadPoolExecutor(threads.at_most(AHEAD)) as pool, self._fetching(number + AHEAD + 1) as reached:
            pending: list[Future[Batch]] = []
            try:
                while True:
                    while len(pending) <= AHEAD:
                        reached(number)
                        pending.append(pool.submit(self.batch, number))
                        number += 1
                    yield pending.pop(0).result()
            finally:
                for future in pending:  # else leaving the pool would wait for them
                    future.cancel()

    def _fetching(self, first: int) -> AbstractContextManager[ahead.Reached]:
        """Return a context in which batches from this number on are fetched ahead, if they are in remote shards."""
        if ahead.is_remote(example.control_map for example in self._examples):
            return ahead.working(self._fetch, first, FETCHED_AHEAD)
        return nullcontext(ahead.go_on_from)

    def _fetch(self, number: int) -> None:
        """Fetch what a batch consists of; control maps stay in memory."""
        if number >= self._settings.steps * self._settings.accumulate:  # after the last step
            return
        picks = self.picks(number)
        ahead.fetch_all(
            pick.example.photo for pick in picks if self._cache is None or not is_cached(pick.view, self._settings)
        )
        for pick in picks:
            self._control(pick)

    def picks(self, number: int) -> list[Pick]:
        """Return this process's share of a batch, without reading files."""
        settings, indices, picks = self._settings, self.order[number], []
        for slot in self._slots():
            example, size = self._examples[indices[slot]], self._sizes[indices[slot]]
            random = np.random.default_rng([settings.seed, number, slot, _VIEW])
            # the number is drawn even with flip off, so that the dropout that follows is the same either way
            view = crops.center_crop(example, size, random.random() < 0.5 and settings.flip)
            picks.append(Pick(example, view, "" if random.random() < settings.prompt_dropout else example.text))
        return picks

    def batch(self, number: int) -> Batch:
        """Read this process's share of a batch.

        Raises:
            DatasetError: a photo cannot be read, or has changed.
            MapError: a control map cannot be read, or is off the palette.
            StorageError: the cache is damaged.
        """
        import torch

        cache, picks = self._cache, self.picks(number)
        cached = [cache is not None and is_cached(pick.view, self._settings) for pick in picks]
        views = [(pick.example, pick.view) for pick, there in zip(picks, cached, strict=True) if there]
        others = [pick for pick, there in zip(picks, cached, strict=True) if not there]
        texts = [pick.text for pick in picks]
        return Batch(
            torch.stack([crops.photo(pick.example, pick.view) for pick in others]) if others else None,
            cache.photos(views) if cache and views else None,
            cache.prompts(texts) if cache else None,
            torch.from_numpy(np.stack([self._control(pick) for pick in picks])),
            texts,
            [_generator(self._settings.seed, number, slot) for slot in self._slots()],
            torch.tensor([crops.time_ids(pick.example, pick.view) for pick in picks], dtype=torch.float32),
            torch.from_numpy(self._rewarded(number)) if self._settings.reward else None,
            torch.tensor(cached) if views and others else None,
        )

    def _slots(self) -> range:
        """Return this process's positions in the batch over all processes."""
        size = self._settings.batch_size
        return range(self._rank * size, (self._rank + 1) * size)

    def _rewarded(self, number: int) -> NDArray[np.bool_]:
        """Return which of this process's photos are rewarded, (B,).

        Systematic sampling over the batch of all processes: each photo is chosen with a probability of exactly
        reward_share, and their number is that share of the batch, rounded up or down.
        """
        settings, slots = self._settings, self._slots()
        offset = np.random.default_rng([settings.seed, number, 0, _REWARD]).random()
        passed = np.floor(offset + settings.reward_share * np.arange(slots.start, slots.stop + 1))
        chosen: NDArray[np.bool_] = np.diff(passed) > 0
        return chosen

    def _control(self, pick: Pick) -> NDArray[np.uint8]:
        example, view = self._control_examples[pick.example], pick.view
        if example is not pick.example:
            view = crops.center_crop(example, view.size, view.mirrored)
        if self._palette is None:
            return crops.control_map(example, view, None)
        labels = self._runs(example, replace(view, mirrored=False)).pixels()  # both mirrorings share one cache entry
        return labels[:, ::-1] if view.mirrored else labels

    def _read(self, example: Example, view: View) -> RunLengthMap:
        return runlength.encode(crops.control_map(example, view, self._palette))


def _generator(seed: int, number: int, slot: int) -> "torch.Generator":
    """Return the generator of a photo's noise and timestep, seeded with 63 bits."""
    import torch

    high, low = np.random.SeedSequence([seed, number, slot, _NOISE]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(high) << 31 | int(low) >> 1)
