"""Configuration files: read into options, and every mistake named with its line."""

from pathlib import Path

import pytest

from segkit import config
from segkit.errors import UsageError
from segkit.settings import CheckSettings, SnapSettings


def read(folder: Path, text: str) -> dict[str, object]:
    """Read a file that may set the options of two classes."""
    (folder / "my.toml").write_text(text)
    return config.read(folder / "my.toml", (SnapSettings, CheckSettings), ("palette",))


def test_only_what_the_file_sets_is_returned(tmp_path: Path) -> None:
    """Options of all classes, with their types."""
    assert read(tmp_path, 'to = "coco"\nfirst_id = 0\ntokenizer = "clip"') == {
        "to": "coco", "first_id": 0, "tokenizer": "clip",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nunsur = 'nearest'", "my.toml, line 2: unknown setting 'unsur'. Did you mean unsure?"),
        ("tokeniser = ''", "my.toml, line 1: unknown setting 'tokeniser'. Did you mean tokenizer?"),
        ("[settings]\nto = ''", "my.toml, line 1: unknown setting 'settings'."),
        ("first_id = 2", "my.toml, line 1: first_id = 2: expected 0 or 1."),
        ("to =", "my.toml: not valid TOML: line 1 (to =)"),
        ('palette = "C:\\new.csv"', "palette contains the escape \\n; in double quotes"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """Unknown options with the most similar one of any class, values out of range, damage, and Windows paths."""
    with pytest.raises(UsageError) as refused:
        read(tmp_path, text)

    assert message in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """The path and the system's reason."""
    with pytest.raises(UsageError, match=r"none.toml: cannot be read \(No such file or directory\)"):
        config.read(tmp_path / "none.toml", (CheckSettings,))
