"""What is to be drawn: control maps with their prompts, of a file, a folder or a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segkit import maps
from segkit.dataset.triple import Triple
from segkit.errors import UsageError
from trainer.data import examples

_LISTS = (".segkit", "metadata.jsonl", "train/metadata.jsonl", "prompt.json", "cond")


@dataclass(frozen=True)
class DrawRequest:
    """One control map with its prompt. Attributes: a name for the picture without an ending, the map, the prompt."""

    name: str
    control_map: Path
    prompt: str


def find(source: Path, prompt: str = "", painted_with: str = "", any_control: bool = False) -> list[DrawRequest]:
    """Find what is to be drawn.

    Args:
        source: a map; a folder of maps with a NAME.txt beside each that has words of its own; or a dataset in a layout
            that can be trained on, of which the held-out triples count, or all if there are none.
        prompt: for maps without one of their own.
        painted_with: see examples.find.
        any_control: see examples.find.

    Raises:
        MapError: there is no map.
        DatasetError: the dataset has errors.
        UsageError: a map has no prompt, or two would give pictures of one name.
    """
    if any((source / name).exists() for name in _LISTS):
        found = examples.find(source, painted_with, any_control)
        listed = [DrawRequest(each.control_map.stem, each.control_map, each.text) for each in found.val or found.train]
    else:
        folder, files = maps.find(source)
        names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
        listed = [DrawRequest(name, path, _words(path)) for name, path in zip(names, files, strict=True)]
    scenes = [DrawRequest(each.name, each.control_map, each.prompt or prompt) for each in listed]
    for scene in scenes:
        if not scene.prompt:
            beside = scene.control_map.with_suffix(".txt")
            raise UsageError(f'{scene.control_map} has no prompt. Type --prompt "...", or write one into {beside}.')
    _require_names(scenes)
    return scenes


def of_triples(triples: Iterable[Triple], prompt: str = "") -> list[DrawRequest]:
    """Return what to draw for triples of a dataset: each control map with its own prompt, or else with `prompt`.

    Raises:
        UsageError: a triple has no prompt.
    """
    drawn = []
    for triple in triples:
        if not (triple.text or prompt):
            raise UsageError(f"triple {triple.key} has no prompt; pass prompt=, or draft prompts with segkit.caption.")
        path = triple.folder / triple.conditioning_image_file_name
        drawn.append(DrawRequest(triple.key, path, triple.text or prompt))
    return drawn


def _words(path: Path) -> str:
    beside = path.with_suffix(".txt")
    try:
        return beside.read_text("utf-8").strip() if beside.is_file() else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{beside} cannot be read ({error}).") from None


def _require_names(scenes: list[DrawRequest]) -> None:
    first: dict[str, Path] = {}
    for scene in scenes:
        other = first.setdefault(scene.name, scene.control_map)
        if other != scene.control_map:
            raise UsageError(f"{other} and {scene.control_map} would give pictures of one name. Rename one of them.")
