"""Control maps and prompts to draw: from a file, a folder or a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from segkit import maps
from segkit.dataset.triple import Triple
from segkit.errors import UsageError
from trainer.data import examples

_DATASET_MARKERS = (".segkit", "metadata.jsonl", "train/metadata.jsonl", "prompt.json", "cond")


@dataclass(frozen=True)
class DrawRequest:
    """A control map to draw.

    Attributes:
        name: of the picture, without a suffix; may contain "/".
        control_map: file of the map.
        prompt: describes the picture.
    """

    name: str
    control_map: Path
    prompt: str


def find(source: Path, prompt: str = "", painted_with: str = "", any_control: bool = False) -> list[DrawRequest]:
    """List the maps of a source with their prompts.

    Args:
        source: a map; a folder of maps, where NAME.txt holds the prompt of NAME; or a dataset in any layout that can
            be trained on, of which the held-out triples are drawn, or all triples if none are held out.
        prompt: for maps without a prompt.
        painted_with: palette of the maps: see examples.find.
        any_control: accept images that are not maps: see examples.find.

    Raises:
        MapError: the source has no map.
        DatasetError: the dataset has errors.
        UsageError: a map has no prompt, or two maps would get the same picture name.
    """
    if any((source / name).exists() for name in _DATASET_MARKERS):
        dataset = examples.find(source, painted_with, any_control)
        requests = [
            DrawRequest(example.control_map.stem, example.control_map, example.text)
            for example in dataset.val or dataset.train
        ]
    else:
        folder, files = maps.find(source)
        requests = [
            DrawRequest(path.relative_to(folder).with_suffix("").as_posix(), path, _sidecar_prompt(path))
            for path in files
        ]
    requests = [replace(request, prompt=request.prompt or prompt) for request in requests]
    for request in requests:
        if not request.prompt:
            sidecar = request.control_map.with_suffix(".txt")
            raise UsageError(f'{request.control_map} has no prompt. Pass prompt="...", or write one to {sidecar}.')
    _require_unique_names(requests)
    return requests


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


def _sidecar_prompt(path: Path) -> str:
    sidecar = path.with_suffix(".txt")
    try:
        return sidecar.read_text("utf-8").strip() if sidecar.is_file() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{sidecar} cannot be read ({error}). Save it as UTF-8 text, or remove it.") from None


def _require_unique_names(requests: list[DrawRequest]) -> None:
    first: dict[str, Path] = {}
    for request in requests:
        other = first.setdefault(request.name, request.control_map)
        if other != request.control_map:
            raise UsageError(
                f"{other} and {request.control_map} would be drawn into the same picture. Rename one of them."
            )
