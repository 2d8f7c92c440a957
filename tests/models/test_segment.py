"""models.segment: labels equal transformers' own, classes are matched by name, and other models are refused."""

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
from segkit.models import hub
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
    """Return a function that loads a segmenter of a family, each only once."""
    loaded: dict[str, NeuralSegmenter] = {}

    def load(name: str) -> NeuralSegmenter:
        if name not in loaded:
            shipped = name == "oneformer"
            folder = models.oneformer if shipped else families.write(tmp_path_factory.mktemp(name), name)
            loaded[name] = NeuralSegmenter(str(folder), ADE if shipped else families.TWELVE, CPU)
        return loaded[name]

    return load


def photos(size: tuple[int, int], count: int) -> list[Image.Image]:
    """Render photos of one size."""
    return [world.scene(seed, (640, 480)).photo.resize(size) for seed in range(count)]


def reference(segmenter: NeuralSegmenter, batch: list[Image.Image]) -> list[np.ndarray[Any, Any]]:
    """Segment as in transformers' documentation."""
    processor, model = segmenter._processor, segmenter._model
    task = {"task_inputs": ["semantic"] * len(batch)} if model.config.model_type == "oneformer" else {}
    with torch.inference_mode():
        outputs = model(**processor(images=batch, return_tensors="pt", **task))
    sizes = [photo.size[::-1] for photo in batch]
    return [labels.numpy() for labels in processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["oneformer", *families.NAMES])
def test_labels_are_transformers_own(family: Family, name: str, count: int) -> None:
    """Labels equal those of transformers' post-processing at odd sizes, enlarged or reduced, single or batched."""
    segmenter = family(name)

    for size in SIZES:
        batch = photos(size, count)
        segmentations = segmenter(batch)

        for segmentation, expected in zip(segmentations, reference(segmenter, batch), strict=True):
            assert segmentation.labels.shape == (size[1], size[0])
            assert np.array_equal(segmentation.labels, expected)
            assert segmentation.confidence.dtype == np.float32
            assert 0 <= segmentation.confidence.min() <= segmentation.confidence.max() <= 1


def test_eomt_with_the_labels_of_ade20k_fits_the_palette(tmp_path: Path) -> None:
    """A semantic EoMT with 150 classes, which splits photos into patches, gives transformers' own labels."""
    with hub.quiet():
        folder = families.write(tmp_path / "eomt", "eomt-split", ONEFORMER)
    segmenter = NeuralSegmenter(str(folder), ADE, CPU)

    for size in SIZES:
        batch = photos(size, 2)
        segmentations = segmenter(batch)

        for segmentation, expected in zip(segmentations, reference(segmenter, batch), strict=True):
            assert np.array_equal(segmentation.labels, expected)
            assert segmentation.labels.max() < 150


@pytest.mark.parametrize("name", ["oneformer", *families.NAMES])
def test_maps_contain_several_classes(family: Family, name: str) -> None:
    """The maps of the tiny networks are not constant; otherwise the comparison above would be meaningless."""
    segmentations = family(name)(photos((320, 240), 3))

    assert max(len(np.unique(segmentation.labels)) for segmentation in segmentations) > 1


def test_large_batches_of_segformer_are_transformers_own(family: Family) -> None:
    """The layout of batched logits changes no pixel where the volume is too large to be upsampled whole."""
    segmenter = family("segformer")
    batch = photos((801, 603), 2)

    segmentations = segmenter(batch)

    for segmentation, expected in zip(segmentations, reference(segmenter, batch), strict=True):
        assert np.array_equal(segmentation.labels, expected)


def test_mixed_sizes_are_refused(family: Family) -> None:
    """Photos of different sizes cannot share a batch: padding would change and stretch their maps."""
    with pytest.raises(ValueError, match="2 sizes in one batch"):
        family("oneformer")([*photos((97, 131), 1), *photos((131, 97), 1)])


@pytest.mark.parametrize("name", ["oneformer", "mask2former", "segformer"])
def test_a_batch_gives_the_labels_of_single_photos(family: Family, name: str) -> None:
    """A batch gets the labels that each photo gets alone, except where two classes tie.

    (In a batch, sums are computed in another order, which changes scores by about 1e-7.)
    """
    batch = photos((320, 240), 3)

    together = family(name)(batch)

    for photo, segmentation in zip(batch, together, strict=True):
        assert (segmentation.labels != family(name)([photo])[0].labels).mean() < 1e-4


def test_no_photos_no_segmentations(family: Family) -> None:
    """An empty batch yields an empty list."""
    assert family("oneformer")([]) == []


@pytest.mark.parametrize("name", ["oneformer", "segformer", "eomt-split"])
def test_bf16_gives_finite_confidence(family: Family, name: str) -> None:
    """Under bf16 autocast on a CPU, confidences are finite and between 0 and 1."""
    exact = family(name)
    half = NeuralSegmenter(
        str(exact.source.folder), ADE if name == "oneformer" else families.TWELVE, Device("cpu", "bf16")
    )

    (segmentation,) = half(photos((97, 131), 1))

    assert 0 <= segmentation.confidence.min() <= segmentation.confidence.max() <= 1


def test_half_weights_become_fp32(tmp_path: Path) -> None:
    """A checkpoint stored in fp16 runs in fp32, regardless of its configuration."""
    folder = families.write(tmp_path / "half", "segformer")
    stored = NeuralSegmenter(str(folder), families.TWELVE, CPU)._model.half()
    stored.save_pretrained(folder)

    segmenter = NeuralSegmenter(str(folder), families.TWELVE, CPU)

    assert next(segmenter._model.parameters()).dtype == torch.float32
    assert len(segmenter(photos((97, 131), 1))) == 1


@pytest.mark.parametrize("labels", [SEGFORMER, ONEFORMER], ids=["segformer", "oneformer"])
def test_labels_of_released_models_fit(labels: list[str]) -> None:
    """The labels of released ADE20K models, with spaces and several names per label, match the palette in order."""
    indices = match_labels(dict(enumerate(labels)), ADE, "released")

    assert indices.tolist() == list(range(150))


def test_labels_are_matched_by_name_not_index(tmp_path: Path) -> None:
    """A model with its labels in reverse order yields the classes of those labels."""
    names = [swatch.name for swatch in families.TWELVE]
    forward = families.write(tmp_path / "forward", "segformer", names)
    backward = families.write(tmp_path / "backward", "segformer", names[::-1])

    (in_order,) = NeuralSegmenter(str(forward), families.TWELVE, CPU)(photos((97, 131), 1))
    (reversed_order,) = NeuralSegmenter(str(backward), families.TWELVE, CPU)(photos((97, 131), 1))

    assert np.array_equal(reversed_order.labels, 11 - in_order.labels)


@pytest.mark.parametrize("label", ["background", "Void", " unlabeled "])
def test_background_is_unlabelled(label: str) -> None:
    """Labels such as "background" become 255 and do not affect the other labels."""
    indices = match_labels({0: label, 1: "wall", 2: "earth, ground"}, ADE, "model")

    assert indices.tolist() == [255, 0, 13]


@pytest.mark.parametrize(
    ("labels", "palette", "message"),
    [
        (["LABEL_0", "LABEL_1"], ADE, "2 of 2 labels do not match a class of the palette ade20k: LABEL_0, LABEL_1"),
        (["wall", "road", "route"], ADE, r"route \(the same class as road\)"),
        ([s.name for s in Palette.load("coco_panoptic")], ADE, r"bicycle|motorcycle.* and \d+ more.*protocol=coco"),
    ],
    ids=["numbered", "twice", "coco"],
)
def test_labels_that_do_not_match_are_listed(labels: list[str], palette: Palette, message: str) -> None:
    """A model with other classes is refused in one line that lists them."""
    with pytest.raises(ModelError, match=message) as refused:
        match_labels(dict(enumerate(labels)), palette, "model")

    assert "\n" not in str(refused.value)


def test_coco_models_fit_the_coco_palette() -> None:
    """A model with the labels of COCO panoptic matches that palette."""
    palette = Palette.load("coco_panoptic")

    assert match_labels({s.index: s.name for s in palette}, palette, "model").tolist() == list(range(133))


@pytest.mark.parametrize("name", ["processor_config.json", "preprocessor_config.json"])
def test_oneformers_class_info_is_not_requested_from_the_hub(models: Models, tmp_path: Path, name: str) -> None:
    """A checkpoint whose class-info file is in a data set on the hub loads without network, in both formats."""
    folder = tmp_path / "oneformer"
    shutil.copytree(models.oneformer, folder)
    config = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").unlink()
    image_processor = config["image_processor"]
    image_processor |= {"repo_path": "shi-labs/oneformer_demo", "class_info_file": "ade20k_panoptic.json"}
    image_processor.pop("metadata", None)
    if name == "preprocessor_config.json":
        config = {
            **image_processor,
            "processor_class": "OneFormerProcessor",
            "image_processor_type": "OneFormerImageProcessor",
        }
    (folder / name).write_text(json.dumps(config))

    segmenter = NeuralSegmenter(str(folder), ADE, CPU)

    original = NeuralSegmenter(str(models.oneformer), ADE, CPU)
    batch = photos((97, 131), 1)
    assert np.array_equal(segmenter(batch)[0].labels, original(batch)[0].labels)


def test_oneformer_without_its_tokenizer_is_refused(models: Models, tmp_path: Path) -> None:
    """OneFormer's task is a text, so a folder without the tokenizer's files is refused in one line."""
    folder = tmp_path / "oneformer"
    shutil.copytree(models.oneformer, folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()

    with pytest.raises(ModelError, match="tokenizer") as refused:
        NeuralSegmenter(str(folder), ADE, CPU)

    assert str(refused.value).startswith(f"segmenter {folder}: ")
    assert "\n" not in str(refused.value)


def test_a_captioner_does_not_segment(models: Models) -> None:
    """A model of another kind is refused in a line that names its type."""
    with pytest.raises(ModelError, match="a model of type blip does not segment"):
        NeuralSegmenter(str(models.blip), ADE, CPU)


def test_nan_is_reported(tmp_path: Path) -> None:
    """A network that computes NaN raises an error instead of labelling all pixels as class 0."""
    segmenter = NeuralSegmenter(str(families.write(tmp_path / "n", "segformer")), families.TWELVE, CPU)
    with torch.no_grad():
        next(segmenter._model.parameters()).fill_(torch.nan)

    with pytest.raises(ModelError, match="returned NaN"):
        segmenter(photos((97, 131), 1))


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_photos_can_be_scaled_to_another_side(tmp_path: Path, name: str) -> None:
    """With a side, the network sees what a processor configured for that side shows it, filter and divisor included."""
    folder, configured = (families.write(tmp_path / part / name, name) for part in ("as it is", "configured"))
    path = configured / "preprocessor_config.json"
    content = json.loads(path.read_text())
    content["size"] = {key: side * 3 // 2 for key, side in content["size"].items()}  # 64 becomes 96
    path.write_text(json.dumps(content))
    batch = photos((131, 97), 2)

    scaled, expected, plain = (
        NeuralSegmenter(str(place), families.TWELVE, CPU, side)(batch)
        for place, side in ((folder, 96), (configured, 0), (folder, 0))
    )

    assert all(np.array_equal(one.labels, other.labels) for one, other in zip(scaled, expected, strict=True))
    assert not all(np.array_equal(one.labels, other.labels) for one, other in zip(scaled, plain, strict=True))


def test_networks_of_one_size_are_not_scaled(tmp_path: Path) -> None:
    """EoMT's position embeddings fit one size; another is refused before the first photo."""
    folder = families.write(tmp_path / "n", "eomt")
    with pytest.raises(ModelError, match="cannot be scaled to a side of 96"):
        NeuralSegmenter(str(folder), families.TWELVE, CPU, 96)
