"""Small datasets to review, written without a build: scenes whose true labels are the maps."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from segkit import storage
from segkit.dataset import Dataset, confidences
from segkit.dataset.info import Info
from segkit.dataset.triple import Prompt, Triple, digest, key_of, map_name, photo_name
from segkit.maps import codec, confidence
from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.photos.geometry import Geometry
from segkit.toy import world

PALETTE = Palette.load("ade20k")
MODELS = {"segmenter": {"name": "toy", "revision": "1"}}


def dataset(folder: Path, scenes: int = 6, size: tuple[int, int] = (160, 120)) -> Dataset:
    """Write a dataset of rendered scenes; every third has no prompt."""
    opened = _empty(folder)
    triples = []
    for seed in range(scenes):
        scene = world.scene(seed, size)
        text = scene.sentence if seed % 3 else ""
        triples.append(_triple(opened, f"room-{seed}.jpg", world.jpeg(scene.photo), scene.labels, text))
    return _with(opened, triples)


def unsure(opened: Dataset, key: str) -> None:
    """Store a confidence map: 0.2 in the upper half, 1 in the lower."""
    triple = opened.get([key])[0]
    values = np.ones((triple.height, triple.width), np.float32)
    values[: triple.height // 2] = 0.2
    confidences.store(opened.folder, key, confidence.encode(values))


def large(folder: Path, width: int, height: int) -> Dataset:
    """Write a dataset of one large scene: an enlarged small one."""
    scene = world.scene(0, (200, 150))
    labels = np.kron(scene.labels, np.ones((height // 150, width // 200), np.uint8))
    opened = _empty(folder)
    return _with(opened, [_triple(opened, "large.jpg", world.jpeg(scene.photo.resize((width, height))), labels, "")])


def many(folder: Path, number: int) -> Dataset:
    """Write a dataset of many triples that share the files of one, by hard links."""
    opened = dataset(folder, 1)
    first = opened[0]
    triples = []
    for position in range(1, number):
        sha256 = storage.sha256(str(position).encode())
        key = key_of(sha256)
        names = photo_name(key, ".jpg"), map_name(key)
        for name, source in zip(names, (first.file_name, first.conditioning_image_file_name), strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            os.link(folder / source, folder / name)
        triples.append(
            replace(
                first, key=key, sha256=sha256, group=key, source=f"room-{position:04}.jpg", file_name=names[0],
                conditioning_image_file_name=names[1],
            )
        )  # fmt: skip
    return _with(opened, triples)


def _empty(folder: Path) -> Dataset:
    (folder / ".segkit").mkdir(parents=True)
    return Dataset.create(folder, Info(PALETTE, MODELS, {}))


def _with(opened: Dataset, triples: Iterable[Triple]) -> Dataset:
    with opened.writing():
        opened.commit(list(triples))
        opened.fold()
    return opened


def _triple(opened: Dataset, source: str, photo: bytes, labels: Labels, text: str) -> Triple:
    sha256 = storage.sha256(photo)
    key, height, width = key_of(sha256), *labels.shape
    control_map = codec.encode(labels, PALETTE)
    storage.write(opened.folder / photo_name(key, ".jpg"), photo)
    storage.write(opened.folder / map_name(key), control_map)
    _, classes = codec.summarize(labels, np.full(labels.shape, 0.9, np.float32), PALETTE)
    prompt = Prompt("model" if text else "nobody", "toy" if text else "", "", False, digest(text) if text else "", text)
    return Triple(
        file_name=photo_name(key, ".jpg"), conditioning_image_file_name=map_name(key), text=text, key=key,
        source=source, sha256=sha256, phash=key, width=width, height=height,
        geometry=Geometry(width, height, 1, (), width, height, 0, 0), classes=classes, tokens=9 if text else 0,
        prompt=prompt, split="train", group=key, review="open", problems=(), photo_sha256=sha256,
        map_sha256=storage.sha256(control_map), drawn="train",
    )  # fmt: skip
