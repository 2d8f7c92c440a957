"""Rendering speed of the toy world on one core.

python benchmarks/world.py
"""

import time
from itertools import count

from segkit.toy import world

SIZES = ((128, 128), (256, 256), (512, 512), (1024, 1024))
SECONDS = 8


def main() -> None:
    """Render scenes for some seconds at each size."""
    for size in SIZES:
        world.scene(0, size)
        started, scenes = time.process_time(), 0
        for seed in count():
            world.scene(seed, size)
            scenes += 1
            if time.process_time() - started > SECONDS:
                break
        print(f"{size[0]}x{size[1]}: {scenes / (time.process_time() - started):.1f} scenes per CPU second")


if __name__ == "__main__":
    main()
