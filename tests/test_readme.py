"""The README is the map: its tree names the files, and every command has an example."""

import re
from pathlib import Path

import pytest

from segkit import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tree_names_every_module() -> None:
    """Each module and folder of segkit/ and trainer/ has its line in the tree, and no line is left of one gone."""
    tree = README.split("## The code")[1].split("```")[1]
    named = set(re.findall(r"^  (\S+?)/? +\S", tree, re.MULTILINE))

    modules = [path.name for package in ("segkit", "trainer") for path in (ROOT / package).glob("*.py")]
    files = set(modules) - {"__init__.py", "__main__.py"}
    folders = {path.parent.name for path in (ROOT / "segkit").glob("*/__init__.py")}
    assert named == files | folders


@pytest.mark.parametrize("name", cli.commands())
def test_every_command_has_an_example(name: str) -> None:
    """The README shows each command at work."""
    assert re.search(rf"^    segkit {name}\b", README, re.MULTILINE)


def test_every_picture_is_there() -> None:
    """Pictures that the README shows are in the repository."""
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)

    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
