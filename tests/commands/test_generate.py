"""segkit generate, through the command line."""

import json
from pathlib import Path

from PIL import Image

from segkit.toy.world import damage
from tests.conftest import Segkit


def test_pictures_are_drawn_and_listed(segkit: Segkit, base: Path, tmp_path: Path) -> None:
    """A map with a prompt beside it becomes a picture; a second call keeps it, and JSON lists it."""
    (tmp_path / "maps").mkdir()
    damage.painted(damage.place(1, 6, 128)).save(tmp_path / "maps" / "a.png")
    (tmp_path / "maps" / "a.txt").write_text("a bright kitchen")
    options = ["--base", base, "--controlnet", "fresh", "--resolution", 64, "--steps", 1, "--device", "cpu"]
    command = ["generate", "--map", tmp_path / "maps", "-o", tmp_path / "out", *options]

    drawn, again = segkit(*command), segkit(*command, "--json")

    assert (drawn.code, drawn.err) == (0, "")
    assert drawn.out.startswith(f"{tmp_path / 'out'}: 1 picture drawn.")
    [picture] = json.loads(again.out)["pictures"]
    assert (picture["map"], picture["prompt"]) == (str(tmp_path / "maps" / "a.png"), "a bright kitchen")
    assert (picture["kept"], picture["cut"]) == (True, False)
    with Image.open(picture["picture"]) as image:
        assert image.size == (64, 64)


def test_a_map_is_required(segkit: Segkit, tmp_path: Path) -> None:
    """Nothing is loaded before the arguments are complete, and the option is named."""
    done = segkit("generate", "--prompt", "a room", "-o", tmp_path / "out")

    assert done.code == 2
    assert "--map" in done.err
    assert not (tmp_path / "out").exists()
