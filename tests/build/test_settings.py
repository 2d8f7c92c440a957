"""build.settings: values out of range are refused."""

from typing import Any

import pytest

from segkit.build.settings import BuildSettings
from segkit.errors import UsageError


@pytest.mark.parametrize(
    "values",
    [
        {"size": 500},
        {"size": 32},
        {"min_size": 4},
        {"min_confidence": 1.0},
        {"min_confidence": -0.1},
        {"limit": -1},
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
def test_values_out_of_range_are_refused_with_the_option_named(values: dict[str, Any]) -> None:
    """Settings with an invalid value cannot be created, and the message names the option."""
    with pytest.raises(UsageError, match="--" + next(iter(values)).replace("_", "-")):
        BuildSettings(**values)
