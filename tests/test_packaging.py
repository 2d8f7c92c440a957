"""Imports at startup and declared dependencies of the package."""

import ast
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

import pytest

from tests.conftest import LONG

ROOT = Path(__file__).parent.parent
HEAVY = {
    "gspread",
    "requests",
    "torch",
    "transformers",
    "pandas",
    "numpy",
    "PIL",
    "rich.progress",
    "huggingface_hub",
    "scipy",
}


@pytest.mark.parametrize("arguments", [["--help"], ["check-palette"], ["check-palette", "palettes/ade20k.csv"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    """--help and check-palette start without torch, transformers, pandas, numpy or rich's progress bars."""
    program = (
        "import sys; sys.argv = ['segkit', *sys.argv[1:]]\n"
        "from segkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('\\n'.join(sys.modules), file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert not HEAVY & set(done.stderr.split())


def test_every_import_is_declared() -> None:
    """Everything that segkit and trainer import is declared in the dependencies or extras."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[>=<; ]", requirement)[0].replace("-", "_").lower() for requirement in declared}
    names |= {"pil"} if "pillow" in names else set()
    names |= {"skimage"} if "scikit_image" in names else set()
    names |= {"google"} if "google_auth" in names else set()
    names |= {"huggingface_hub"} if "transformers" in names else set()  # transformers depends on it

    imported = set()
    for path in [*(ROOT / "segkit").rglob("*.py"), *(ROOT / "trainer").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])

    assert {name.lower() for name in imported} - set(sys.stdlib_module_names) - {"segkit", "trainer"} <= names


def test_every_test_file_is_collected(pytestconfig: pytest.Config) -> None:
    """No folder of tests has a name that pytest skips, as it does "build" by default, and the long files exist."""
    skipped = pytestconfig.getini("norecursedirs")
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    parts = {part for folder in folders for part in folder.relative_to(ROOT / "tests").parts}

    assert not [part for part in parts if any(fnmatch(part, pattern) for pattern in skipped)]
    assert not [name for name in LONG if not (ROOT / "tests" / name).is_file()]
