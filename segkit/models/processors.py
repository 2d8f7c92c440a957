"""Image processors of models in transformers' format."""

from pathlib import Path
from typing import Any

from segkit.errors import ModelError
from segkit.models import hub


def load(folder: Path, role: str, expected: str = "", **settings: Any) -> Any:
    """Load a model's image processor, which needs Pillow only.

    Args:
        folder: the model's.
        role: see hub.find.
        expected: what the folder should have beside the processor's file, for the message.
        settings: of the processor.

    Raises:
        ModelError: a file is missing or damaged.
    """
    # Not from the top level: transformers 5.17 has a placeholder there that needs torchvision, even for backend="pil".
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(str(folder), backend="pil", local_files_only=True, **settings)
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError, TypeError
        raise unusable(folder, role, expected, error) from None


def unusable(folder: Path, role: str, expected: str, error: Exception) -> ModelError:
    """Return the error that says that a processor cannot be loaded; see `load`."""
    return ModelError(
        f"{role} {folder}: the processor cannot be loaded ({hub.reason(error)}). "
        f"Expected preprocessor_config.json or processor_config.json{expected}."
    )
