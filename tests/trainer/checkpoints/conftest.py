"""The base of tests that read and write files of real checkpoints: with two layers a block, as these have."""

from pathlib import Path

import pytest

from tests.conftest import Models
from tests.trainer.conftest import base_folder


@pytest.fixture(scope="session")
def base(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion 1 of the real ones' layout, shared by all tests: do not modify it."""
    return base_folder(tmp_path_factory.mktemp("base") / "small", models.clip)
