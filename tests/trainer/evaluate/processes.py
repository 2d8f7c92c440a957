"""Evaluations in processes of their own, one of several or one that is killed: see test_evaluation."""

import os
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel  # noqa: F401 - once for all processes
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401

from segkit import storage
from segkit.models.segment import Segmentation
from segkit.progress import silent
from tests import forks
from trainer.evaluate import evaluation
from trainer.evaluate.judging import Judge
from trainer.evaluate.settings import EvaluateSettings


def share(rank: int, port: int, *places: str) -> int:
    """Evaluate as one of two processes.

    Args:
        rank: of this process.
        port: of the launcher's store.
        places: see `_evaluate`.
    """
    launcher = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in launcher.items()}
    steering, base, rooms, out, log = places
    return _evaluate(steering, base, rooms, out, log, "toy-judge")


def kill(last: int, *places: str) -> int:
    """Evaluate until the last-th flush of a file or folder, which is fatal.

    Args:
        last: number of that flush.
        places: see `_evaluate`.
    """
    forks.die_at_flush(last)
    return _evaluate(*places)


def _evaluate(steering: str, base: str, rooms: str, out: str, log: str, features: str = "") -> int:
    """Evaluate like the fixture `evaluated`, and list the pictures, judged maps and vectors that were written.

    Args:
        steering: a ControlNet.
        base: its base.
        rooms: the dataset.
        out: folder of the evaluation.
        log: file to which the names are appended, each once the file is in its place.
        features: network for KID.
    """
    write = storage.write

    def listed(path: Path, data: bytes) -> None:
        write(path, data)
        if {"pictures", "judged", "features"} & set(path.parts):
            with Path(log).open("a", encoding="utf-8") as file:
                file.write("/".join(path.parts[-3:]) + "\n")

    def segment(pictures: object) -> list[Segmentation]:
        bright = [np.asarray(picture.convert("L")) > 127 for picture in pictures]  # type: ignore[attr-defined]
        return [Segmentation(np.where(one, 3, 0).astype(np.uint8), np.ones(one.shape, np.float32)) for one in bright]

    storage.write = listed
    settings = EvaluateSettings(
        base=base, resolution=64, steps=2, device="cpu", guidance=2.0, split="all", judge="toy", features=features
    )
    judge = Judge(segment, {"name": "toy", "revision": "1", "weights": "", "precision": "fp32"})
    evaluation.evaluate(
        [steering, "fresh"], Path(rooms), Path(out), settings, silent, evaluation.Execution(load=lambda *_: judge)
    )
    return 0
