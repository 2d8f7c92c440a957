"""A ControlNet whose pictures differ from those of the base alone."""

from pathlib import Path

import pytest
import torch

from trainer.checkpoints import export, load


@pytest.fixture(scope="session")
def controlnet_folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet that changes the pictures. Do not modify it."""
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    folder = tmp_path_factory.mktemp("random") / "controlnet"
    export.write_folder(folder, model)
    return folder
