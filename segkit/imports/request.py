"""What is to be imported: paths, and URLs that are copied beside the dataset while they are imported."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from segkit import storage
from segkit.errors import SettingError, UsageError
from segkit.imports import pipeline, slice_set
from segkit.imports.job import Phrase
from segkit.imports.outcome import Outcome
from segkit.imports.settings import ImportSettings
from segkit.imports.sources import open_all
from segkit.progress import Progress, silent
from segkit.remote import is_url, lists
from segkit.remote.staging import stage
from segkit.settings import to_bytes

LIMIT = "50GB"
"""Default of the most that the copy of a source may take."""


@dataclass(frozen=True)
class Request:
    """What is to be imported.

    Attributes:
        sources: paths and URLs of datasets in any layout.
        photos: folder or URL of photos that belong to `maps`; None without them.
        maps: folder or URL of their maps.
        fetch_limit: most space for the local copy of a URL, such as "50GB".
    """

    sources: Sequence[Path | str]
    photos: Path | str | None = None
    maps: Path | str | None = None
    fetch_limit: str = LIMIT

    def __post_init__(self) -> None:
        if (self.photos is None) != (self.maps is None):
            alone, missing = ("photos", "maps") if self.maps is None else ("maps", "photos")
            raise UsageError(
                f"{alone}={getattr(self, alone)} needs the folder of its {missing} as well; other layouts are sources."
            )


def run(
    request: Request,
    output: Path,
    settings: ImportSettings,
    progress: Progress = silent,
    dry_run: bool = False,
    phrase: Phrase = str,
) -> Outcome:
    """Fetch what is behind URLs, open all sources, and import them, or say what an import would do.

    Args:
        request: what is imported.
        output: the dataset.
        settings: see ImportSettings.
        progress: see segkit.progress.
        dry_run: write nothing.
        phrase: words all messages of the outcome and of rejected.jsonl; a command names settings as its options.

    Raises:
        LocationError: a URL cannot be read.
        UsageError, DatasetError, LockedError, ModelError, StorageError: see pipeline.import_data and sources.open_all.
    """
    pair = () if request.photos is None or request.maps is None else (request.photos, request.maps)
    with fetched([*request.sources, *pair], output, request.fetch_limit, progress) as paths:
        sources, folders = (paths[:-2], (paths[-2], paths[-1])) if pair else (paths, None)
        if slices := slice_set.opened(paths):
            outcome = slice_set.merge(slices, output, settings, progress, dry_run)
        elif dry_run:
            outcome = pipeline.plan(open_all(sources, folders), output, settings, progress, phrase)
        else:
            collections = open_all(sources, folders)
            outcome = pipeline.import_data(collections, output, settings, progress, phrase=phrase)
    outcome.notes = [phrase(note) for note in outcome.notes]
    outcome.conflicts = [replace(conflict, reason=phrase(conflict.reason)) for conflict in outcome.conflicts]
    return outcome


@contextmanager
def fetched(sources: Sequence[Path | str], output: Path, limit: str, progress: Progress) -> Iterator[list[Path]]:
    """Yield local paths of all sources, of which those behind URLs are copied first.

    The copies are deleted at the end. After an error they stay, so that the next call continues.

    Args:
        sources: paths and URLs.
        output: the dataset; the copies are in a hidden folder beside it.
        limit: most space for each source's copy, such as "50GB".
        progress: see segkit.progress.

    Raises:
        SettingError: the limit is no size.
        UsageError: a source holds no files, or more than the limit.
        LocationError: a URL cannot be read.
    """
    if not (most := to_bytes(limit)):
        raise SettingError("fetch_limit", limit, "a size such as 500MB or 50GB")
    target = output.absolute()
    folder = target.with_name(f".{target.name}.fetched")
    paths = []
    for source in sources:
        if is_url(source):
            place = folder / storage.sha256(str(source).encode())[:12]  # two sources may have one name
            paths.append(stage(str(source), place, most, progress))
        else:
            paths += _local(Path(source))
    yield paths  # left by an exception, it goes no further
    shutil.rmtree(folder, ignore_errors=True)


def _local(source: Path) -> list[Path]:
    """Return the tar files that a path with braces stands for; another path as it is, also if its name has braces."""
    if source.suffix != ".tar" or "{" not in str(source) or source.exists():
        return [source]
    return [Path(name) for name in lists.expanded(str(source))]
