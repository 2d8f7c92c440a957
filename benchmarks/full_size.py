"""Write full-size OneFormer (swin-tiny) and BLIP (base) folders with random weights, for timing only.

python benchmarks/full_size.py FOLDER
segkit build-dataset photos -o out --segmenter FOLDER/oneformer --captioner FOLDER/blip
"""

import sys
from pathlib import Path

from segkit.models import hub
from segkit.palette import Palette
from segkit.toy.learn import networks


def write(folder: Path) -> None:
    """Write folder/oneformer (49 M parameters) and folder/blip (225 M parameters) unless they exist."""
    with hub.quiet():
        if not (folder / "oneformer" / "processor_config.json").exists():
            networks.write(folder / "oneformer", networks.oneformer(Palette.load("ade20k"), networks.FULL))
        if not (folder / "blip" / "processor_config.json").exists():
            networks.write(folder / "blip", networks.blip(scale=networks.FULL))


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "full-size-models"))
