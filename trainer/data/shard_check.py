"""What must hold before a dataset in shards is trained on: the rules of a dataset, for records and for whole shards."""

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from PIL import Image

from segkit import threads
from segkit.dataset import checks, record_rules, stamps
from segkit.dataset.formats.shards import INDEX, Sample, Shard
from segkit.dataset.record_rules import Screening, fault
from segkit.dataset.stamps import Stamps
from segkit.dataset.triple import Triple
from segkit.errors import SegkitError
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.progress import NOTICE, Progress
from segkit.settings import Check
from trainer.data import ahead
from trainer.data.members import COPY_AGAIN
from trainer.data.shards import Shards

CURE = "Correct the dataset that was exported (see segkit check), and export it again."

_RULES = "1"
"""Changes when the rules become stricter, so that all shards are checked again."""


class ShardCheck:
    """Checks shards while their samples are read.

    Args:
        shards: the shards.
        check: which shards are read as a whole: "full" all; "fast" those on a disk that are new, or have another size
            or time than when they were checked last; "none" none. Records and sizes are always checked, and each
            member must have its recorded hash whenever it is read.
        remembered: file of what "fast" passes over; None remembers nothing.
        progress: called with ("triples", done, total).
    """

    def __init__(self, shards: Shards, check: Check, remembered: Path | None, progress: Progress) -> None:
        self._shards, self._check, self._progress = shards, check, progress
        self._known = None
        if remembered and not shards.store.is_remote:
            self._known = Stamps(remembered, reread=check == "full")
        self._screening = Screening()
        self._problems: list[Problem] = []

    def samples(self) -> Iterator[tuple[Shard, list[Sample]]]:
        """Yield each shard with its samples, checked.

        Raises:
            DatasetError: a shard's index is missing or damaged.
        """
        index = self._shards.index
        flaws = ahead.mapped(self._size_problem, index.shards)
        with self._known or nullcontext():  # saves what was checked
            for (shard, samples), flaw in zip(self._shards.samples(), flaws, strict=True):
                for sample in samples:
                    self._add_record(sample.triple)
                self._problems += [flaw] if flaw else self._of_shard(shard, samples)
                yield shard, samples
                self._progress("triples", self._screening.total, index.triples)
        if self._known and self._known.unsaved:
            self._progress(NOTICE, 0, 0, f"Checked shards cannot be remembered. {self._known.unsaved}")

    def finish(self, required: Palette | None) -> list[Problem]:
        """Return all errors, once the last sample was taken.

        Args:
            required: the required palette; None accepts any that the dataset's protocol allows.
        """
        problems = list(self._problems)
        if self._screening.repeated:
            key = min(self._screening.repeated)
            problems.append(Problem("key-repeated", "error", key, f"{self._shards}: {key} appears twice.", CURE))
        triples = (sample.triple for _, samples in self._shards.samples() for sample in samples)
        problems += [replace(leak, cure=CURE) for leak in record_rules.leaks(triples, self._screening)]
        problems += checks.of_palette(self._shards.index.info, required, f"{self._shards}/{INDEX}", CURE)
        return problems

    def _size_problem(self, shard: Shard) -> Problem | None:
        """Return what is wrong with a shard's size."""
        try:
            size = self._shards.location.size(shard.name)
        except SegkitError as error:
            return Problem("shard-missing", "error", shard.name, str(error), COPY_AGAIN)
        if size == shard.bytes:
            return None
        message = f"{self._shards}/{shard.name} has {size:,} bytes; {INDEX} says {shard.bytes:,}."
        return Problem("shard-changed", "error", shard.name, message, COPY_AGAIN)

    def _add_record(self, triple: Triple) -> None:
        self._screening.add(triple)
        folder = Path(self._shards.index.name)  # named by cures only, which are replaced
        problems = (*record_rules.of_prompt(folder, triple, None), *record_rules.of_split(triple))
        self._problems += [replace(problem, cure=CURE) for problem in problems if problem.severity == "error"]

    def _of_shard(self, shard: Shard, samples: list[Sample]) -> list[Problem]:
        """Return what is wrong with the content of a shard, if that is to be read."""
        if self._check == "none" or (self._check == "fast" and self._shards.store.is_remote):
            return []
        began, status = time.time_ns(), stamps.status(f"{self._shards}/{shard.name}")
        if self._is_known(shard, status):
            return []
        if self._shards.store.digest(shard.name) != shard.sha256:
            message = f"{self._shards}/{shard.name} was changed after it was exported: its hash differs."
            return [Problem("shard-changed", "error", shard.name, message, COPY_AGAIN)]
        with threads.pool(os.cpu_count()) as pool:
            results = pool.map(lambda sample: list(self._of_pictures(shard, sample)), samples)
            problems = [problem for result in results for problem in result if problem.severity == "error"]
        if self._known and status and not problems:
            name = str(self._shards.location / shard.name).encode()
            self._known.remember(name, status, shard.sha256, began, self._facts(shard))
        return problems

    def _is_known(self, shard: Shard, status: stamps.Status) -> bool:
        """Return whether a shard was checked, and is the same since."""
        if not self._known:
            return False
        name = str(self._shards.location / shard.name).encode()
        return self._known.digests([name], [status], [self._facts(shard)]) == [shard.sha256]

    def _facts(self, shard: Shard) -> int:
        """Return a hash of what the shard was checked against."""
        palette = self._shards.index.info.palette.hash
        return stamps.hash64(f"{_RULES} {palette} {shard.index_sha256}".encode())

    def _of_pictures(self, shard: Shard, sample: Sample) -> Iterator[Problem]:
        triple, pictures = sample.triple, list[Image.Image]()
        for source in self._shards.pictures(shard, sample):
            try:
                pictures.append(checks.open_stored(source.read_bytes()))
            except SegkitError as error:
                yield Problem("file-changed", "error", triple.key, str(error), "")
            except Exception as error:  # Pillow raises exceptions of any type on damaged files
                reason = f"{type(error).__name__}: {error}"
                yield fault("file-damaged", triple, f"{source} cannot be opened ({reason})", CURE)
        if len(pictures) == 2:
            palette = self._shards.index.info.palette
            yield from checks.of_pictures(triple, pictures[0], pictures[1], palette, lambda triple: CURE)
