"""The renderer of the toy world: seeded scenes with per-pixel classes and a true sentence."""

from segkit.toy.world.scenes import (
    CLASSES,
    TRAINING,
    Scene,
    jpeg,
    scene,
    write_variants,
)

__all__ = ["CLASSES", "TRAINING", "Scene", "jpeg", "scene", "write_variants"]
