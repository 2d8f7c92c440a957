"""Remove triples whose photos are gone. What a person typed or decided is removed only on demand."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from segkit import storage
from segkit.dataset import confidences, saving, splits
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import Triple
from segkit.errors import UsageError


@dataclass(frozen=True)
class Pruned:
    """Triples whose photos are gone.

    Attributes:
        removed: sources of those that were removed.
        kept: sources of those that a person worked on, which stay.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]


def prune(dataset: Dataset, gone: Collection[str], force: bool) -> Pruned:
    """Remove triples with their photos and maps. The caller must hold the dataset's lock and have folded all parts.

    The keys are noted first, then the manifest is replaced, then the files are deleted: after a kill, `resume` deletes
    the rest.

    Args:
        dataset: the dataset to change.
        gone: SHA-256 of the photos of these triples.
        force: also remove triples that a person worked on, and more than half of a dataset.

    Raises:
        UsageError: at least half of the dataset would be removed, which looks like the wrong folder of photos.
    """
    recorded = splits.shares(dataset.info.settings.get("split", ""))
    total, missing = 0, []
    for triple in dataset.triples():
        total += 1
        if triple.sha256 in gone:
            missing.append(triple)
    if missing and 2 * len(missing) >= total and not force:
        raise UsageError(
            f"{len(missing):,} of {total:,} triples of {dataset.folder} have no photo in this folder, such as "
            f"{missing[0].source}; nothing was removed. If it is the right folder, pass force=True with prune=True, "
            "which also removes triples that a person worked on."
        )
    kept = [] if force else [triple for triple in missing if _is_worked_on(dataset, splits.with_draw(triple, recorded))]
    keys = {triple.key for triple in missing} - {triple.key for triple in kept}
    if keys:
        note(dataset, keys)
        dataset.replace_all(triple for triple in dataset.triples() if triple.key not in keys)
        # a copy or near-duplicate of a removed photo is welcome from now on
        dataset.keep_rejections(lambda rejection: not any(key in rejection.message for key in keys))
        resume(dataset)
    removed = tuple(triple.source for triple in missing if triple.key in keys)
    return Pruned(removed, tuple(triple.source for triple in kept))


def note(dataset: Dataset, keys: Collection[str]) -> None:
    """Note the triples whose files are to be deleted once they are removed or rejected; `resume` does it."""
    storage.write(dataset.hidden / "pruning.json", json.dumps(sorted(keys)).encode())


def resume(dataset: Dataset) -> None:
    """Delete the noted files, also those that a killed process left behind. The caller must hold the dataset's lock."""
    path = dataset.hidden / "pruning.json"
    if not path.exists():
        return
    keys = json.loads(path.read_bytes())
    present = {key for key, triple in dataset.known(keys).items() if triple.review != "rejected"}
    for key in keys:
        if key not in present:
            _delete_files(dataset, key)
    storage.remove([path], dataset.hidden)


def _delete_files(dataset: Dataset, key: str) -> None:
    saving.forget(dataset.folder, [key])
    confidences.store(dataset.folder, key, b"")
    for name in ("images", "maps"):
        folder = dataset.folder / name / key[:2]
        if files := list(folder.glob(f"{key}.*")):
            storage.remove(files, folder)


def _is_worked_on(dataset: Dataset, triple: Triple) -> bool:
    """Return whether a triple holds anything of a person: in its record, or as an edited picture."""
    return records_work(triple) or is_edited(dataset, triple)


def records_work(triple: Triple) -> bool:
    """Return whether a record holds anything of a person: a prompt, a decision, a split, a column, or map edits.

    Args:
        triple: from splits.with_draw.
    """
    decided = triple.review != "open" or splits.is_by_hand(triple)
    return triple.by_person or decided or bool(triple.extra) or triple.map_by_person


def is_edited(dataset: Dataset, triple: Triple) -> bool:
    """Return whether a person changed the map, or the photo or map was changed after it was stored."""
    if triple.map_by_person:
        return True
    stored = ((triple.file_name, triple.photo_sha256), (triple.conditioning_image_file_name, triple.map_sha256))
    paths = [(dataset.folder / name, digest) for name, digest in stored]
    return any(storage.sha256(path.read_bytes()) != digest for path, digest in paths if digest and path.is_file())
