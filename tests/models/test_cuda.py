"""Building on a GPU: networks of the real sizes give the CPU's maps, and batches that do not fit are halved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.dataset import Dataset
from segkit.maps import codec
from segkit.models import batches, hub
from segkit.models.device import Device, resolve
from segkit.models.segment import NeuralSegmenter, query_scores
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import networks
from tests import gpu
from tests.conftest import Segkit

pytestmark = pytest.mark.cuda

ADE = Palette.load("ade20k")
SCALE = networks.SMALL if gpu.ON_CPU else networks.FULL
SIZE = (320, 240) if gpu.ON_CPU else (640, 480)
TIE = {"fp32": 1e-3, "bf16": 1.0}
"""By how much of a pixel's best score two classes may differ and still count as a tie; bf16 moves the scores of random
weights too far for such a bound."""

DIFFERING = {"fp32": 1e-3, "bf16": 0.1}
"""Share of pixels, at most, whose labels differ."""


@pytest.fixture(autouse=True)
def _all_threads() -> Iterator[None]:
    """Let the CPU compute its reference with all its cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(8, torch.multiprocessing.cpu_count()))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """OneFormer and BLIP with random weights: swin-tiny's and BLIP base's sizes on a GPU."""
    place = tmp_path_factory.mktemp("networks")
    with hub.quiet():
        segmenter = networks.write(place / "oneformer", networks.oneformer(ADE, SCALE))
        captioner = networks.write(place / "blip", networks.blip(scale=SCALE))
    return segmenter, captioner


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rendered photos of one size."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        world.scene(seed, SIZE).photo.save(folder / f"{seed}.png")
    return folder


def scores(segmenter: NeuralSegmenter, photo: Image.Image) -> torch.Tensor:
    """Return the scores of each class at every pixel, (C, H, W), by the documentation's way."""
    with torch.inference_mode():
        outputs = segmenter._model(**segmenter._inputs([photo]))
        found = torch.nn.functional.interpolate(query_scores(outputs), size=photo.size[::-1], mode="bilinear")
    return found[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_maps_are_the_cpus_but_for_ties(
    folders: tuple[Path, Path], photos: Path, tmp_path: Path, segkit: Segkit, precision: Any
) -> None:
    """build-dataset: where a label differs from the CPU's in fp32, the two classes' scores are as good as equal."""
    done = segkit(
        "build-dataset", photos, "-o", tmp_path / "rooms", "--segmenter", folders[0], "--captioner", folders[1],
        "--device", gpu.DEVICE, "--precision", precision, "--min-size", 64, "--size", min(SIZE), "--keep-duplicates",
        "--photo-format", "png",
    )  # fmt: skip
    assert done.code == 0, done.err

    reference = NeuralSegmenter(str(folders[0]), ADE, Device("cpu", "fp32"))
    triples = list(Dataset.open(tmp_path / "rooms").triples())
    differing = worst = 0.0
    for triple in triples:
        photo = Image.open(tmp_path / "rooms" / triple.file_name).convert("RGB")
        labels, off = codec.read(Image.open(tmp_path / "rooms" / triple.conditioning_image_file_name), ADE)
        assert off == 0
        every = scores(reference, photo)
        best, winners = every.max(0)
        chosen = every.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
        differing += float((winners != torch.from_numpy(labels.astype(np.int64))).float().mean()) / len(triples)
        worst = max(worst, float(((best - chosen) / best).max()))
    print(f"{precision}: {differing:.4%} of the pixels differ, by {worst:.1e} of the best score at most")  # noqa: T201
    assert len(triples) == 4
    assert all(triple.text for triple in triples)
    assert differing <= DIFFERING[precision]
    assert worst <= TIE[precision]


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
def test_a_batch_that_does_not_fit_is_halved(folders: tuple[Path, Path]) -> None:
    """With a cap on memory below what eight photos need, smaller batches give the maps of the single photos."""
    segmenter = NeuralSegmenter(str(folders[0]), ADE, resolve("cuda", "fp32"))
    pictures = [world.scene(seed, SIZE).photo for seed in range(8)]
    sizes: list[int] = []

    def network(items: Any) -> Any:
        sizes.append(len(items))
        return segmenter(items)

    def peak(count: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        segmenter(pictures[:count])
        return int(torch.cuda.max_memory_allocated())

    single, eight = peak(1), peak(8)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((single + eight) / 2 / total)
    try:
        found = batches.run(network, pictures, 8)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert sizes[0] == 8
    assert min(sizes) < 8
    for picture, halved in zip(pictures, found, strict=True):
        alone = segmenter([picture])[0].labels
        assert float((halved.labels != alone).mean()) < 1e-2


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
def test_a_gpu_is_chosen_and_bf16_on_it() -> None:
    """Without options: the first GPU, in bf16 where the card has it."""
    assert resolve() == Device("cuda", "bf16" if torch.cuda.is_bf16_supported() else "fp16")
