"""Control maps and prompts to draw, from a file, a folder or a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from segkit import maps
from segkit.dataset import Dataset, emptiness
from segkit.dataset.formats import layouts
from segkit.dataset.triple import Triple
from segkit.errors import UsageError
from segkit.words import quote
from trainer.data import shards
from trainer.data.members import Source
from trainer.data.shards import Data, Shards


@dataclass(frozen=True)
class DrawRequest:
    """A control map to draw.

    Attributes:
        name: of the picture, without a suffix; may contain "/".
        control_map: the map.
        prompt: describes the picture.
        cure: how to give the map a prompt of its own, for error messages.
    """

    name: str
    control_map: Source
    prompt: str
    cure: str = field(default="", compare=False)


@dataclass(frozen=True)
class Subject:
    """What a picture shows.

    Attributes:
        request: its map and prompt.
        seed: seed of its noise.
        strength: ControlNet conditioning scale.
        size: width and height.
    """

    request: DrawRequest
    seed: int
    strength: float
    size: tuple[int, int]


def find(source: Data, prompt: str = "") -> list[DrawRequest]:
    """List the maps of a source with their prompts.

    Args:
        source: a map; a folder of maps, where NAME.txt holds the prompt of NAME; or a dataset in any layout that can
            be trained on, or the URL of shards, of which the held-out triples are drawn, or all triples if none are
            held out.
        prompt: for maps without a prompt.

    Raises:
        MapError: the source has no map.
        DatasetError: the dataset has no triples or is damaged.
        UsageError: a map has no prompt, or two maps would get the same picture name.
    """
    requests = [replace(request, prompt=request.prompt or prompt) for request in _all(source)]
    for request in requests:
        if not request.prompt:
            raise UsageError(f'{request.control_map} has no prompt. Pass prompt="...", or {request.cure}.')
    _require_unique_names(requests)
    return requests


def _all(source: Data) -> list[DrawRequest]:
    folder = Path(source)
    if (folder / ".segkit").is_dir():
        return _of_dataset(Dataset.open(folder))
    if location := shards.find(source):
        return _of_shards(shards.open_shards(location))
    if layouts.detect_maps(folder):
        return _of_entries(folder)
    top, files = maps.find(folder)
    return [_of_file(path, path.relative_to(top)) for path in files]


def _of_shards(opened: Shards) -> list[DrawRequest]:
    cure = "draft the missing ones in the dataset that was exported: segkit caption"
    usable = [
        (sample.triple.split, DrawRequest(sample.key, opened.pictures(shard, sample)[1], sample.triple.text, cure))
        for shard, samples in opened.samples()
        for sample in samples
        if sample.triple.review != "rejected"
    ]
    return [request for split, request in usable if split == "val"] or [request for _, request in usable]


def _of_dataset(dataset: Dataset) -> list[DrawRequest]:
    emptiness.require_triples(dataset)
    accepted = [triple for triple in dataset.triples() if triple.review != "rejected"]
    cure = f"draft the missing ones: segkit caption {quote(dataset.folder)}"
    return [
        DrawRequest(triple.key, dataset.folder / triple.conditioning_image_file_name, triple.text, cure)
        for triple in [triple for triple in accepted if triple.split == "val"] or accepted
    ]


def _of_entries(folder: Path) -> list[DrawRequest]:
    listing = layouts.read(folder)
    entries = [entry for entry in listing.entries if entry.split == "val"] or listing.entries
    stems = {entry.control_map.stem for entry in entries}
    requests = []
    for entry in entries:
        path = entry.control_map
        name = path.stem if len(stems) == len(entries) else path.relative_to(folder).with_suffix("").as_posix()
        place = f"to {entry.photo.with_suffix('.txt')}" if listing.layout == "kohya" else f"into {entry.source}"
        requests.append(DrawRequest(name, path, entry.text, f"write one {place}"))
    return requests


def _of_file(path: Path, name: Path) -> DrawRequest:
    sidecar = path.with_suffix(".txt")
    return DrawRequest(name.with_suffix("").as_posix(), path, _sidecar_prompt(sidecar), f"write one to {sidecar}")


def of_triples(triples: Iterable[Triple], prompt: str = "") -> list[DrawRequest]:
    """Return a request for each triple of a dataset: its control map with its own prompt, or else with `prompt`.

    Raises:
        UsageError: a triple has no prompt.
    """
    requests = []
    for triple in triples:
        if not (triple.text or prompt):
            raise UsageError(f"triple {triple.key} has no prompt; pass prompt=, or draft prompts with segkit.caption.")
        path = triple.folder / triple.conditioning_image_file_name
        requests.append(DrawRequest(triple.key, path, triple.text or prompt))
    return requests


def _sidecar_prompt(sidecar: Path) -> str:
    try:
        return sidecar.read_text("utf-8-sig").strip() if sidecar.is_file() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{sidecar} cannot be read ({error}). Save it as UTF-8 text, or remove it.") from None


def _require_unique_names(requests: list[DrawRequest]) -> None:
    first: dict[str, Source] = {}
    for request in requests:
        other = first.setdefault(request.name, request.control_map)
        if other != request.control_map:
            raise UsageError(
                f"{other} and {request.control_map} would be drawn into the same picture. Rename one of them."
            )
