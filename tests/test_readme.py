"""The README shows every command, and docs/architecture.md names every file."""

import re
from pathlib import Path

import pytest

from segkit import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tree_names_every_module() -> None:
    """Each module and package has its line in docs/architecture.md, and no line is left of one that is gone."""
    lines = (ROOT / "docs" / "architecture.md").read_text().split("```")[1].splitlines()
    named: set[str] = set()
    folders: list[str] = []
    for line in filter(None, lines):
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders[depth:] = [name.rstrip("/")]
        named.add("/".join(folders))

    modules = {path for package in ("segkit", "trainer") for path in (ROOT / package).rglob("*.py")}
    packages = {path.parent for path in modules if path.name == "__init__.py"}
    files = {path for path in modules if path.name not in ("__init__.py", "__main__.py")}
    assert named == {path.relative_to(ROOT).as_posix() for path in files | packages}


@pytest.mark.parametrize("name", cli.commands())
def test_every_command_has_an_example(name: str) -> None:
    """The README shows each command at work."""
    assert re.search(rf"^    segkit {name}\b", README, re.MULTILINE)


def test_every_picture_is_there() -> None:
    """Pictures that the README shows are in the repository."""
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)

    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
