"""Print the memory that a training step takes on a GPU for networks of the released sizes, as the dry run computes it.

python benchmarks/gpu_plan.py
"""

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from trainer.checkpoints import configs
from trainer.run import memory
from trainer.settings import TrainSettings
from trainer.step.loss import ControlledUNet

SIZES = (("sd15", 512), ("sdxl", 1024))
"""A family's released networks, and the side of their pictures."""

BATCH = 4


def model(family: str) -> ControlledUNet:
    """Return UNet and ControlNet in full size, without values."""
    config = {key: value for key, value in configs.released(family).items() if not key.startswith("conditioning")}
    up = [name.replace("Down", "Up") for name in reversed(config["down_block_types"])]
    with torch.device("meta"):
        unet = UNet2DConditionModel(up_block_types=up, **config)
        return ControlledUNet(ControlNetModel.from_unet(unet, load_weights_from_unet=False), unet)


def main() -> None:
    """Print one line for each change of settings."""
    for family, resolution in SIZES:
        networks = model(family)
        for need in memory.needs(networks, TrainSettings(resolution=resolution, batch_size=BATCH), 0):
            changes = ", ".join(f"{name}={value}" for name, value in need.changes.items()) or f"batch_size={BATCH}"
            print(f"{family}, {resolution} x {resolution}: {changes}: {need.bytes / 1e9:.1f} GB", flush=True)


if __name__ == "__main__":
    main()
