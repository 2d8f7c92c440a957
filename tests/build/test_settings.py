"""build.settings: values out of range are refused."""

from pathlib import Path
from typing import Any

import pytest

from segkit.build.settings import BuildSettings, CaptionSettings, read
from segkit.errors import SettingError, UsageError


@pytest.mark.parametrize(
    "values",
    [
        {"size": 500},
        {"size": 32},
        {"min_size": 4},
        {"min_confidence": 1.0},
        {"min_confidence": -0.1},
        {"limit": -1},
        {"tiles": -1},
        {"ensemble": "toy-judge,,toy"},
        {"segmenter": "toy", "ensemble": "toy-judge, toy"},
        {"max_megapixels": float("nan")},
        {"max_megapixels": -3.0},
        {"beams": 0},
        {"caption_tokens": 0},
        {"batch_size": "many"},
        {"batch_size": "0"},
        {"split": "val=1.0"},
        {"split": "val=0.1,val=0.2"},
        {"split": "holdout=0.1"},
        {"split": "val=some"},
        {"template": "{caption}, {sky}"},
    ],
)
def test_values_out_of_range_are_refused_by_name(values: dict[str, Any]) -> None:
    """A setting that cannot work is refused when the settings are created, and the message names it."""
    with pytest.raises(UsageError, match=rf"{list(values)[-1]}\b"):
        BuildSettings(**values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 500}, "size=500: expected a multiple of 8, at least 64."),
        ({"size": "512"}, "size='512': expected a whole number."),
        ({"max_megapixels": 0}, "max_megapixels=0: expected more than 0, at most 1000."),
        ({"min_confidence": 1.0}, "min_confidence=1.0: expected at least 0, below 1."),
        ({"photo_format": "webp"}, "photo_format='webp': expected jpg or png."),
        ({"caption": "yes"}, "caption='yes': expected true or false."),
        ({"batch_size": "0"}, "batch_size='0': expected a number from 1, or auto."),
    ],
)
def test_the_message_says_what_was_found_and_expected(wrong: dict[str, Any], message: str) -> None:
    """Types, ranges and choices in words, for whoever calls from Python."""
    with pytest.raises(SettingError) as error:
        BuildSettings(**wrong)

    assert str(error.value) == message


def test_a_build_toml_has_the_options_of_the_command(tmp_path: Path) -> None:
    """Folders and settings are read; an unknown one is refused with the most similar."""
    path = tmp_path / "build.toml"
    path.write_text('photos = "p"\noutput = "o"\nsize = 256\nkeep_duplicates = true\n')
    assert read(path) == {"photos": "p", "output": "o", "size": 256, "keep_duplicates": True}

    path.write_text("kep_duplicates = true")
    with pytest.raises(UsageError, match=r"line 1: unknown setting 'kep_duplicates'\. Did you mean keep_duplicates\?"):
        read(path)


def test_every_setting_is_recorded_remembered_or_says_what_to_do_now() -> None:
    """A new setting that shapes triples is recorded unless it is listed as one of the others."""
    recorded = BuildSettings().recorded().keys()

    assert recorded == {
        "segmenter", "protocol", "size", "min_size", "max_megapixels", "min_confidence", "photo_format",
        "keep_duplicates", "follow_links", "caption", "captioner", "caption_task", "tokenizer", "caption_tokens",
        "beams", "store_confidence", "ensemble", "tiles", "flip_average",
    }  # fmt: skip
    assert CaptionSettings().recorded().keys() < recorded
