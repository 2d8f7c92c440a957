"""Building on a GPU: networks of real size give the CPU's maps, and batches that do not fit are halved."""

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
from segkit.models.outputs import query_scores
from segkit.models.segment import NeuralSegmenter
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
"""Two classes tie if their scores differ by at most this fraction of the pixel's best score. In bf16, scores of random
networks change too much for a useful bound."""

DIFFERING = {"fp32": 1e-3, "bf16": 0.1}
"""Maximum fraction of pixels whose labels differ."""


@pytest.fixture(autouse=True)
def _all_threads() -> Iterator[None]:
    """Compute the CPU's reference on several cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(8, torch.multiprocessing.cpu_count()))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """OneFormer and BLIP with random weights; on a GPU, in the sizes of Swin-tiny and BLIP base."""
    folder = tmp_path_factory.mktemp("networks")
    with hub.quiet():
        segmenter = networks.write(folder / "oneformer", networks.oneformer(ADE, SCALE))
        captioner = networks.write(folder / "blip", networks.blip(scale=SCALE))
    return segmenter, captioner


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rendered photos of one size."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        world.scene(seed, SIZE).photo.save(folder / f"{seed}.png")
    return folder


def scores(segmenter: NeuralSegmenter, photo: Image.Image) -> torch.Tensor:
    """Return the scores of every class at every pixel, (C, H, W), computed as in transformers' documentation."""
    with torch.inference_mode():
        outputs = segmenter._model(**segmenter._inputs([photo]))
        volume = torch.nn.functional.interpolate(query_scores(outputs), size=photo.size[::-1], mode="bilinear")
    return volume[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_maps_equal_the_cpus_except_for_ties(
    folders: tuple[Path, Path], photos: Path, tmp_path: Path, segkit: Segkit, precision: Any
) -> None:
    """Where a label of build-dataset differs from the CPU's in fp32, the scores of the two classes are almost equal."""
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
        volume = scores(reference, photo)
        best, winners = volume.max(0)
        chosen = volume.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
        differing += float((winners != torch.from_numpy(labels.astype(np.int64))).float().mean()) / len(triples)
        worst = max(worst, float(((best - chosen) / best).max()))
    print(f"{precision}: {differing:.4%} of the pixels differ, by {worst:.1e} of the best score at most")  # noqa: T201
    assert len(triples) == 4
    assert all(triple.text for triple in triples)
    assert differing <= DIFFERING[precision]
    assert worst <= TIE[precision]


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
def test_a_batch_that_does_not_fit_is_halved(folders: tuple[Path, Path]) -> None:
    """With less memory than eight photos need, smaller batches give the maps of single photos."""
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
        segmentations = batches.run(network, pictures, 8)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert sizes[0] == 8
    assert min(sizes) < 8
    for picture, segmentation in zip(pictures, segmentations, strict=True):
        alone = segmenter([picture])[0].labels
        assert float((segmentation.labels != alone).mean()) < 1e-2


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
def test_a_gpu_is_chosen_and_bf16_on_it() -> None:
    """By default, networks run on the first GPU, in bf16 if it computes in bf16 natively."""
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    assert resolve() == Device("cuda", "bf16" if native else "fp16")
