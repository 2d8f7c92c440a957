"""What a dataset remembers of the settings that it was built with, for a build that leaves them out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.dataset import Dataset
from segkit.dataset.info import FIXED

REMEMBERED = (
    *FIXED, "segmenter", "ensemble", "min_size", "max_megapixels", "palette", "captioner", "caption_task",
    "caption_tokens", "beams",
)  # fmt: skip
"""Settings that are filled in. Prefix, suffix, template and split are remembered, too: left empty, they keep what was
set before. What a build is to do now, such as keep_duplicates, is not."""


def complete(output: Path, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were chosen for a build, and for those left out what the dataset was built with.

    Args:
        output: the folder of the dataset, if there is one.
        chosen: values of some fields of BuildSettings.

    Raises:
        DatasetError: the dataset is damaged.
    """
    if not (output / ".segkit" / "dataset.toml").is_file():
        return dict(chosen)
    recorded = Dataset.open(output).info.settings
    # An earlier version, or an import, did not record all of them; a table of classes may have moved.
    kept = {name: recorded[name] for name in REMEMBERED if recorded.get(name, "") != ""}
    if "palette" in kept and not Path(kept["palette"]).is_file():
        del kept["palette"]
    if "captioner" not in chosen and "caption" in recorded:
        kept["caption"] = recorded["caption"]
    return {**kept, **chosen}
