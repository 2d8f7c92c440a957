"""Read a model's config.json, and refuse models that consist of remote code."""

import json
from pathlib import Path
from typing import Any

from segkit.errors import ModelError

SUPPORTED = {
    "segmenter": "oneformer-large, eomt-large or segformer-b5",
    "captioner": "blip-large, florence2-large or smolvlm",
    "features": "dinov2-base",
    "clip": "clip-base",
}
"""Short names to suggest in place of an unsupported model, by role."""


def load(folder: Path, role: str) -> Any:
    """Load a model's configuration.

    Raises:
        ModelError: config.json is damaged, transformers does not know the model type, or the model needs remote code.
    """
    from transformers import AutoConfig

    refuse_remote_code(folder, str(folder), role)
    try:
        return AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # broken JSON and unknown model types have no common base
        first_line = str(error).strip().partition("\n")[0][:200]
        raise ModelError(f"{role} {folder}: config.json cannot be used ({first_line}).") from None


def refuse_remote_code(folder: Path, name: str, role: str) -> None:
    """Refuse a model that transformers could load only by running code from the model's repository.

    transformers itself would ask on a terminal whether to run it.

    Raises:
        ModelError: config.json names custom classes, and transformers has none of its own for the model type.
    """
    from transformers import CONFIG_MAPPING

    try:
        config = json.loads((folder / "config.json").read_bytes())
    except ValueError:
        return  # AutoConfig reports broken JSON
    if isinstance(config, dict) and "auto_map" in config and config.get("model_type") not in CONFIG_MAPPING:
        raise ModelError(
            f"{role} {name}: needs remote code, which segkit never runs. "
            f"Use {SUPPORTED[role]}, or another model that transformers supports itself."
        )
