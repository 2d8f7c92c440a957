"""Control maps and their prompts are found in files, folders and datasets."""

import json
import re
import shutil
from pathlib import Path

import pytest

from segkit import storage
from segkit.dataset import Dataset
from segkit.errors import MapError, UsageError
from tests.conftest import Segkit
from tests.trainer.data.test_examples import write
from tests.trainer.runs import path_of
from trainer.sample import requests
from trainer.sample.requests import DrawRequest


def touch(path: Path, prompt: str = "") -> Path:
    """Write a file with the name of a map, and its prompt beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"map")
    if prompt:
        path.with_suffix(".txt").write_text(f"{prompt}\n", "utf-8")
    return path


def test_maps_of_a_folder_have_prompts_beside_them(tmp_path: Path) -> None:
    """NAME.txt is the prompt of NAME; others get the common one, and names keep their subfolder."""
    first, second = touch(tmp_path / "a.png", "ein grüner Raum"), touch(tmp_path / "deep" / "b.png")

    found = requests.find(tmp_path, "a room")

    assert sorted(found, key=lambda request: request.name) == [
        DrawRequest("a", first, "ein grüner Raum"), DrawRequest("deep/b", second, "a room")
    ]  # fmt: skip


def test_a_single_map_is_found(tmp_path: Path) -> None:
    """Its name is the file's; its prompt file overrides the common prompt."""
    path = touch(tmp_path / "a.png", "a room")
    assert requests.find(path, "a street") == [DrawRequest("a", path, "a room")]


def test_held_out_triples_of_a_dataset_are_drawn(rooms: Path) -> None:
    """Only those that were not trained on, each with its prompt."""
    held_out = [triple for triple in Dataset.open(rooms).triples() if triple.split == "val"]

    found = requests.find(rooms)

    assert found == [
        DrawRequest(triple.key, rooms / triple.conditioning_image_file_name, triple.text) for triple in held_out
    ]
    assert len(found) == 1


def test_without_held_out_triples_all_are_drawn(tmp_path: Path) -> None:
    """Layouts of other tools have no split; their prompts are used."""
    folder = write(tmp_path / "data", "fill50k")

    found = requests.find(folder)

    assert [(request.name, request.prompt) for request in found] == [
        (str(number), f"picture {number}") for number in range(3)
    ]


def test_a_map_without_a_prompt_is_refused(tmp_path: Path) -> None:
    """The message names the option and the file that would hold the prompt."""
    path = touch(tmp_path / "a.png")
    with pytest.raises(UsageError) as refused:
        requests.find(path)
    assert str(refused.value) == f'{path} has no prompt. Pass prompt="...", or write one to {tmp_path / "a.txt"}.'


def test_a_prompt_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """The message names the file and the encoding."""
    touch(tmp_path / "a.png").with_suffix(".txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(UsageError, match=r"a\.txt cannot be read .* Save it as UTF-8 text"):
        requests.find(tmp_path, "a room")


def test_two_maps_with_one_name_are_refused(tmp_path: Path) -> None:
    """Their pictures would overwrite each other; the message names both."""
    touch(tmp_path / "a.png")
    touch(tmp_path / "a.PNG")
    with pytest.raises(UsageError, match=r"a\.(png|PNG) and .*a\.(png|PNG) would be drawn into the same picture"):
        requests.find(tmp_path, "a room")


def test_a_source_without_maps_is_refused(tmp_path: Path) -> None:
    """An empty folder and a missing file have nothing to draw."""
    for source in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(MapError):
            requests.find(source, "a room")


def test_triples_have_their_own_prompt(rooms: Path, tmp_path: Path) -> None:
    """A triple without a prompt gets the common one; without either it is an error that names the triple."""
    triples = list(Dataset.open(rooms).triples())[:2]
    described = requests.of_triples(triples, "a common prompt")
    assert [(request.name, request.prompt) for request in described] == [(one.key, one.text) for one in triples]
    assert all(path_of(request.control_map).is_file() for request in described)

    bare = tmp_path / "bare"
    shutil.copytree(rooms, bare)
    rows = [json.loads(line) | {"text": ""} for line in (bare / "metadata.jsonl").read_text().splitlines()]
    storage.write_lines(bare / "metadata.jsonl", rows)
    first = next(iter(Dataset.open(bare).triples()))
    (request,) = requests.of_triples([first], "a common prompt")
    assert request.prompt == "a common prompt"
    with pytest.raises(UsageError, match=f"triple {first.key} has no prompt"):
        requests.of_triples([first])


def without_prompts(folder: Path, layout: str, rooms: Path) -> Path:
    """Write control maps in a layout, none of which has a prompt."""
    if layout == "maps":
        return touch(folder / "0.png").parent
    if layout != "segkit":
        write(folder, layout)
        for path in (*folder.glob("*.json*"), *folder.glob("img/*.txt")):
            path.write_text(re.sub("picture .", "", path.read_text()))
        return folder
    shutil.copytree(rooms, folder)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    emptied = [line | {"text": "", "prompt": line["prompt"] | {"by": "none"}} for line in lines]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in emptied))
    return folder


@pytest.mark.parametrize("layout", ["fill50k", "imagefolder", "kohya", "segkit", "maps"])
def test_the_cure_for_a_missing_prompt_works(layout: str, rooms: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Whoever does what the message says gets a prompt, and a dataset stays sound."""
    folder = without_prompts(tmp_path / "data", layout, rooms)
    with pytest.raises(UsageError) as refused:
        requests.find(folder)
    cure = str(refused.value).partition('has no prompt. Pass prompt="...", or ')[2].removesuffix(".")

    if layout == "segkit":
        assert cure == f"draft the missing ones: segkit caption {folder}"
        assert segkit("caption", folder, "--captioner", "toy").code == 0
        assert Dataset.open(folder).check() == []
    elif layout in ("maps", "kohya"):
        for number in range(3):
            Path(cure.removeprefix("write one to ")).with_name(f"{number}.txt").write_text("a room")
    else:
        listed = Path(cure.removeprefix("write one into ").partition(",")[0])
        listed.write_text(re.sub('(text|prompt)": ""', r'\1": "a room"', listed.read_text()))

    assert all(request.prompt for request in requests.find(folder))
