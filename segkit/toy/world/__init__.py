"""The renderer of the toy world: scenes from a seed, with the class of every pixel and a true sentence."""

from segkit.toy.world.scenes import (
    CLASSES,
    TRAINING,
    Scene,
    jpeg,
    scene,
    write_variants,
)

__all__ = ["CLASSES", "TRAINING", "Scene", "jpeg", "scene", "write_variants"]
