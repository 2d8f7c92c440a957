"""A ControlNet whose pictures differ from those of the base alone."""

from pathlib import Path

import pytest

from tests.trainer.conftest import steering


@pytest.fixture(scope="session")
def controlnet_folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet that changes the pictures. Do not modify it."""
    return steering(tmp_path_factory.mktemp("random") / "controlnet", base, 0.1)
