"""dataset.toml: what is written is read back, and damage is one error."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from segkit import storage
from segkit.dataset import info
from segkit.dataset.info import Info
from segkit.errors import DatasetError
from segkit.palette import Palette, Swatch

SEGMENTER = {"segmenter": {"name": "m", "revision": "1"}}
TWO = Palette("two", (Swatch(0, "wall", ("side",), (120, 120, 120)), Swatch(1, "sky", (), (6, 230, 230))))
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()


@settings(max_examples=25)
@given(st.dictionaries(st.text(), SCALARS, max_size=5), st.sampled_from([TWO, Palette.load("ade20k")]))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: Any, palette: Palette) -> None:
    """Settings of every type, the models and the palette with its synonyms survive."""
    path = tmp_path_factory.getbasetemp() / "dataset.toml"
    written = Info(palette, {**SEGMENTER, "tokenizer": {"name": "estimate"}}, values)

    storage.write(path, info.to_toml(written))

    assert info.read(path) == written


def changed(path: Path, **values: Any) -> Path:
    """Write dataset.toml with top-level values changed."""
    import tomllib

    content = tomllib.loads(info.to_toml(Info(TWO, SEGMENTER, {})).decode())
    path.write_text(tomli_w.dumps(content | values))
    return path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": {}}, "is damaged: the segmenter has no name and revision"),
        ({"models": {"segmenter": {"name": "m"}}}, "is damaged: the segmenter has no name and revision"),
        ({"palette": {"name": "two", "hash": "0", "classes": []}}, "is damaged: "),
        ({"palette": {"name": "two", "hash": "0"}}, r"is damaged: palette: .*classes|is damaged: .*classes is missing"),
        ({"settings": 3}, "is damaged: settings: expected object, found int"),
        ({"format": "1"}, "is damaged: format: expected int, found str"),
        ({"format": 2}, r"has format 2; this segkit reads up to 1\. Update segkit"),
    ],
)
def test_damage_is_named(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    """Missing and mistyped values and a newer format are refused with the next step."""
    with pytest.raises(DatasetError, match=message):
        info.read(changed(tmp_path / "dataset.toml", **values))


def test_an_edited_palette_is_detected(tmp_path: Path) -> None:
    """A colour changed by hand no longer matches the hash."""
    path = changed(tmp_path / "dataset.toml")
    path.write_text(path.read_text().replace("#787878", "#787879"))

    with pytest.raises(DatasetError, match=r"the palette was edited: its hash does not match\. Restore a copy"):
        info.read(path)


def test_a_missing_file_is_not_damage(tmp_path: Path) -> None:
    """The caller distinguishes a folder that is not a dataset; a file that cannot be parsed is damaged."""
    with pytest.raises(FileNotFoundError):
        info.read(tmp_path / "dataset.toml")
    (tmp_path / "dataset.toml").write_bytes(b"\xff")
    with pytest.raises(DatasetError, match="is damaged"):
        info.read(tmp_path / "dataset.toml")
    with pytest.raises(NotADirectoryError):
        info.read(tmp_path / "dataset.toml" / "dataset.toml")
