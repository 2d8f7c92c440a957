"""The photos of a build, wherever they come from: all of a folder or a store, a slice of them, or finished slices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segkit import photos
from segkit.build import slice_listing
from segkit.build.arrival import Place
from segkit.build.engines import Read
from segkit.build.find import find_photos, folder_of
from segkit.build.intake import Intake
from segkit.build.lookalikes import Sources
from segkit.build.outcome import Outcome
from segkit.build.settings import BuildSettings
from segkit.build.slice_listing import Share
from segkit.dataset import Dataset, stamps
from segkit.dataset.stamps import Stamps
from segkit.photos import PassedOver


@dataclass(frozen=True)
class Supply:
    """Photos, and what is known of them before they are read.

    Attributes:
        folder: that sources are named relative to.
        paths: the photos in it.
        passed: files that are passed over.
        outcome: counts all files.
        share: the slice, if only one of them is built.
        sources: the same photos without files, in finished slices; None for photos that are read.
    """

    folder: Path
    paths: Sequence[Place]
    passed: Sequence[PassedOver]
    outcome: Outcome
    share: Share | None = None
    sources: Sources | None = None

    @contextmanager
    def known(self, hidden: Path, rehash: bool) -> Iterator[Stamps | None]:
        """Yield the stamps of the photos, by which those that did not change are recognised; None without files.

        Args:
            hidden: the folder of the dataset that holds them.
            rehash: read all photos again.
        """
        if self.sources is None:
            with stamps.of_sources(hidden, rehash) as known:
                yield known
        else:
            yield None

    def intake(self, settings: BuildSettings, known: Stamps | None, read: Read) -> Intake:
        """Return how the photos are read."""
        reading = self.share.reading(read) if self.share else read
        return Intake(self.folder, self.paths, limits(settings), known, reading, self.sources)

    def record(self, target: Dataset) -> None:
        """Record that a slice is finished, if that is what was built. The caller must hold the dataset's lock."""
        if self.share:
            self.share.record(target)


def find(source: Path | str, output: Path, settings: BuildSettings) -> Supply:
    """Find the photos of a build, or of a slice of it; see find.find_photos for arguments and errors."""
    paths, passed, outcome = find_photos(source, output, settings)
    folder = folder_of(source)
    if not settings.shard:
        return Supply(folder, paths, passed, outcome)
    share, outcome = slice_listing.share(settings.shard, folder, paths, passed, outcome)
    return Supply(folder, share.paths, share.passed, outcome, share)


def limits(settings: BuildSettings) -> photos.Limits:
    """Return the size limits of photos, and the size to fit them to."""
    return photos.Limits(settings.min_size, settings.max_megapixels, settings.size)
