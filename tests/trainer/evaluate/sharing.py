"""One of several processes of an evaluation; it lists the files that it wrote: see test_evaluation."""

import os
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel  # noqa: F401 - once for both processes
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

from segkit import storage
from segkit.models.segment import Segmentation
from segkit.progress import silent
from trainer.evaluate import evaluation
from trainer.evaluate.judging import Judge
from trainer.evaluate.settings import EvaluateSettings


def run(rank: int, port: int, *places: str) -> int:
    """Evaluate like the fixture `evaluated`, and list the pictures, judged maps and features that this process wrote.

    Args:
        rank: of this process, one of two.
        port: of the launcher's store.
        places: ControlNet, base, dataset and output folder.
    """
    launcher = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in launcher.items()}
    steering, base, rooms, out = places
    write, names = storage.write, []

    def listed(path: Path, data: bytes) -> None:
        if {"pictures", "judged", "features"} & set(path.parts):
            names.append("/".join(path.parts[-3:]))
        write(path, data)

    def segment(pictures: object) -> list[Segmentation]:
        bright = [np.asarray(picture.convert("L")) > 127 for picture in pictures]  # type: ignore[attr-defined]
        return [Segmentation(np.where(one, 3, 0).astype(np.uint8), np.ones(one.shape, np.float32)) for one in bright]

    storage.write = listed
    settings = EvaluateSettings(
        base=base, resolution=64, steps=2, device="cpu", guidance=2.0, split="all", judge="eye", features="toy-judge"
    )
    judge = Judge(segment, {"name": "eye", "revision": "1", "weights": "", "precision": "fp32"})
    evaluation.evaluate([steering, "fresh"], Path(rooms), Path(out), settings, silent, lambda *_: judge)
    Path(f"{out}-{rank}.txt").write_text("\n".join(names))
    return 0
