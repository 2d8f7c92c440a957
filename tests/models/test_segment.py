"""models.segment: labels equal to transformers' own, classes matched by name, bad models refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.errors import ModelError
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter, match_labels
from segkit.palette import Palette
from segkit.toy import world
from tests.conftest import Models
from tests.models import families
from tests.models.labels import ONEFORMER, SEGFORMER

ADE = Palette.load("ade20k")
CPU = Device("cpu", "fp32")
SIZES = [(97, 131), (320, 181), (33, 20)]

Family = Callable[[str], NeuralSegmenter]


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Family:
    """Load a segmenter of a family, each once."""
    loaded: dict[str, NeuralSegmenter] = {}

    def load(name: str) -> NeuralSegmenter:
        if name not in loaded:
            one = name == "oneformer"
            folder = models.oneformer if one else families.write(tmp_path_factory.mktemp(name), name)
            loaded[name] = NeuralSegmenter(str(folder), ADE if one else families.TWELVE, CPU)
        return loaded[name]

    return load


def photos(size: tuple[int, int], count: int) -> list[Image.Image]:
    """Render photos of one size."""
    return [world.scene(seed, (640, 480)).photo.resize(size) for seed in range(count)]


def theirs(segmenter: NeuralSegmenter, batch: list[Image.Image]) -> list[np.ndarray[Any, Any]]:
    """Segment as transformers' documentation does."""
    processor, model = segmenter._processor, segmenter._model
    task = {"task_inputs": ["semantic"] * len(batch)} if model.config.model_type == "oneformer" else {}
    with torch.inference_mode():
        outputs = model(**processor(images=batch, return_tensors="pt", **task))
    sizes = [photo.size[::-1] for photo in batch]
    return [labels.numpy() for labels in processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["oneformer", *families.NAMES])
def test_labels_are_transformers_own(family: Family, name: str, count: int) -> None:
    """Labels equal those of transformers' post-processing bit for bit, at odd sizes, enlarged or reduced, batched."""
    segmenter = family(name)

    for size in SIZES:
        batch = photos(size, count)
        found = segmenter(batch)

        for ours, expected in zip(found, theirs(segmenter, batch), strict=True):
            assert ours.labels.shape == (size[1], size[0])
            assert np.array_equal(ours.labels, expected)
            assert ours.confidence.dtype == np.float32
            assert 0 <= ours.confidence.min() <= ours.confidence.max() <= 1


@pytest.mark.parametrize("name", ["oneformer", *families.NAMES])
def test_pictures_have_several_classes(family: Family, name: str) -> None:
    """The small networks tell pixels apart, so that the comparison above means something."""
    found = family(name)(photos((320, 240), 3))

    assert max(len(np.unique(one.labels)) for one in found) > 1


def test_large_batches_of_segformer_are_transformers_own(family: Family) -> None:
    """Beyond the size up to which the volume is scaled whole, the layout of batched logits changes no pixel."""
    segmenter = family("segformer")
    batch = photos((801, 603), 2)

    found = segmenter(batch)

    for ours, expected in zip(found, theirs(segmenter, batch), strict=True):
        assert np.array_equal(ours.labels, expected)


def test_mixed_sizes_are_refused(family: Family) -> None:
    """Photos of different sizes never share a batch: padding would change and stretch their maps."""
    with pytest.raises(ValueError, match="2 sizes in one batch"):
        family("oneformer")([*photos((97, 131), 1), *photos((131, 97), 1)])


@pytest.mark.parametrize("name", ["oneformer", "mask2former", "segformer"])
def test_a_batch_gives_what_single_photos_give(family: Family, name: str) -> None:
    """Photos of one size get the same labels together as alone, but for a pixel where two classes tie.

    (Batches are summed up in another order, which moves scores by some 1e-7.)
    """
    batch = photos((320, 240), 3)

    together = family(name)(batch)

    for photo, found in zip(batch, together, strict=True):
        assert (found.labels != family(name)([photo])[0].labels).mean() < 1e-4


def test_no_photos_no_segmentations(family: Family) -> None:
    """An empty batch is no error."""
    assert family("oneformer")([]) == []


@pytest.mark.parametrize("name", ["oneformer", "segformer", "eomt-split"])
def test_bf16_gives_finite_confidence(family: Family, name: str) -> None:
    """Autocast to bf16 on a CPU works and gives confidences from 0 to 1."""
    exact = family(name)
    half = NeuralSegmenter(
        str(exact.source.folder), ADE if name == "oneformer" else families.TWELVE, Device("cpu", "bf16")
    )

    (found,) = half(photos((97, 131), 1))

    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1


def test_half_weights_become_fp32(tmp_path: Path) -> None:
    """A checkpoint stored in fp16 runs in fp32, whatever its config says."""
    folder = families.write(tmp_path / "half", "segformer")
    stored = NeuralSegmenter(str(folder), families.TWELVE, CPU)._model.half()
    stored.save_pretrained(folder)

    segmenter = NeuralSegmenter(str(folder), families.TWELVE, CPU)

    assert next(segmenter._model.parameters()).dtype == torch.float32
    assert len(segmenter(photos((97, 131), 1))) == 1


@pytest.mark.parametrize("labels", [SEGFORMER, ONEFORMER], ids=["segformer", "oneformer"])
def test_labels_of_released_models_fit(labels: list[str]) -> None:
    """The label sets of released ADE20K models, with blanks and several names a label, are the palette's order."""
    indices = match_labels(dict(enumerate(labels)), ADE, "released")

    assert indices.tolist() == list(range(150))


def test_labels_are_matched_by_name_not_place(tmp_path: Path) -> None:
    """A model that numbers its classes the other way round gives the same palette classes."""
    names = [swatch.name for swatch in families.TWELVE]
    forward = families.write(tmp_path / "forward", "segformer", names)
    backward = families.write(tmp_path / "backward", "segformer", names[::-1])

    (one,) = NeuralSegmenter(str(forward), families.TWELVE, CPU)(photos((97, 131), 1))
    (other,) = NeuralSegmenter(str(backward), families.TWELVE, CPU)(photos((97, 131), 1))

    assert np.array_equal(other.labels, 11 - one.labels)


@pytest.mark.parametrize("label", ["background", "Void", " unlabeled "])
def test_background_is_unlabelled(label: str) -> None:
    """A class that stands for nothing becomes 255, and takes no place of the others."""
    indices = match_labels({0: label, 1: "wall", 2: "earth, ground"}, ADE, "model")

    assert indices.tolist() == [255, 0, 13]


@pytest.mark.parametrize(
    ("labels", "table", "message"),
    [
        (["LABEL_0", "LABEL_1"], ADE, "2 of its 2 labels are no classes of ade20k: LABEL_0, LABEL_1"),
        (["wall", "road", "route"], ADE, r"route \(the same class as road\)"),
        ([s.name for s in Palette.load("coco_panoptic")], ADE, r"bicycle|motorcycle.* and \d+ more.*--protocol coco"),
    ],
    ids=["numbered", "twice", "coco"],
)
def test_labels_that_do_not_fit_are_listed(labels: list[str], table: Palette, message: str) -> None:
    """A model of other classes is refused with a list of them, in one line."""
    with pytest.raises(ModelError, match=message) as refused:
        match_labels(dict(enumerate(labels)), table, "model")

    assert "\n" not in str(refused.value)


def test_coco_models_fit_the_coco_palette() -> None:
    """A model with the labels of COCO panoptic is taken with that palette."""
    table = Palette.load("coco_panoptic")

    assert match_labels({s.index: s.name for s in table}, table, "model").tolist() == list(range(133))


@pytest.mark.parametrize("name", ["processor_config.json", "preprocessor_config.json"])
def test_oneformers_class_info_is_not_asked_of_the_hub(models: Models, tmp_path: Path, name: str) -> None:
    """A checkpoint whose class-info file lies in a data set on the hub loads without a network, in either format."""
    folder = tmp_path / "oneformer"
    shutil.copytree(models.oneformer, folder)
    config = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    image = config["image_processor"]
    image |= {"repo_path": "shi-labs/oneformer_demo", "class_info_file": "ade20k_panoptic.json"}
    image.pop("metadata", None)
    if name == "preprocessor_config.json":
        config = {**image, "processor_class": "OneFormerProcessor", "image_processor_type": "OneFormerImageProcessor"}
    (folder / name).write_text(json.dumps(config))

    segmenter = NeuralSegmenter(str(folder), ADE, CPU)

    same = NeuralSegmenter(str(models.oneformer), ADE, CPU)
    batch = photos((97, 131), 1)
    assert np.array_equal(segmenter(batch)[0].labels, same(batch)[0].labels)


def test_oneformer_without_its_tokenizer_is_refused(models: Models, tmp_path: Path) -> None:
    """The task is asked in words, so a folder without the tokenizer's files is refused, in one line."""
    folder = tmp_path / "oneformer"
    shutil.copytree(models.oneformer, folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()

    with pytest.raises(ModelError, match="tokenizer") as refused:
        NeuralSegmenter(str(folder), ADE, CPU)

    assert str(refused.value).startswith(f"--segmenter {folder}: ")
    assert "\n" not in str(refused.value)


def test_a_captioner_does_not_segment(models: Models) -> None:
    """A model of another kind is refused by its type."""
    with pytest.raises(ModelError, match="a blip model does not segment"):
        NeuralSegmenter(str(models.blip), ADE, CPU)


def test_nan_is_told(family: Family, tmp_path: Path) -> None:
    """A network that computes NaN is told instead of labelling everything as class 0."""
    segmenter = NeuralSegmenter(str(families.write(tmp_path / "n", "segformer")), families.TWELVE, CPU)
    with torch.no_grad():
        next(segmenter._model.parameters()).fill_(torch.nan)

    with pytest.raises(ModelError, match="returned NaN"):
        segmenter(photos((97, 131), 1))
