"""Each export is read back by the library or script that it is for, or by its rules written down here."""

import gc
import json
import math
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segkit.dataset import Dataset, lines
from segkit.dataset.formats import layouts, shards
from segkit.dataset.triple import Triple
from segkit.exports import pipeline
from segkit.palette import Palette
from tests.exports.conftest import Exporter, chosen, contents

ADE = Palette.load("ade20k")
COLORS = np.frombuffer(ADE.bytes, np.uint8).reshape(256, 3)
HF = {"train": "train", "val": "validation", "test": "test"}


def stored(triple: Triple) -> tuple[bytes, bytes]:
    """Return the bytes of a triple's photo and map."""
    names = triple.file_name, triple.conditioning_image_file_name
    photo, control_map = ((triple.folder / name).read_bytes() for name in names)
    return photo, control_map


def rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return a picture as every trainer reads it."""
    return np.asarray(image.convert("RGB"))


def _samples(urls: list[str], decode: bool) -> list[dict[str, Any]]:
    """Read shards with the library, which leaves them open for the garbage collector to close."""
    import webdataset

    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        stream = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
        samples = list(stream.decode("pil") if decode else stream)
        del stream
        gc.collect()
    return samples


def test_webdataset_reads_the_shards(exported: Exporter, rooms: Dataset) -> None:
    """Photos, maps and prompts are the stored ones, in the dataset's order, over several shards."""
    urls = sorted(map(str, exported("webdataset", shard_size="40kB").glob("*.tar")))
    samples, decoded = (_samples(urls, decode) for decode in (False, True))

    assert len(urls) > 2
    assert [sample["__key__"] for sample in samples] == [triple.key for triple in rooms]
    for sample, picture, triple in zip(samples, decoded, rooms, strict=True):
        assert (sample["jpg"], sample["hint.png"]) == stored(triple)
        assert sample["txt"] == triple.text.encode()
        assert lines.decode(sample["json"]) == triple
        assert (rgb(picture["hint.png"]) == COLORS[triple.labels]).all()


def test_every_member_is_found_by_its_range(exported: Exporter, rooms: Dataset) -> None:
    """The index locates each photo and map; sizes, hashes and numbers of the shards are right."""
    folder = exported("webdataset", shard_size="40kB")
    index = shards.decode_index((folder / shards.INDEX).read_bytes(), "index.json")
    triples = iter(rooms)

    assert (index.triples, index.name, index.info) == (len(rooms), "test rooms", rooms.info)
    for shard in index.shards:
        data = (folder / shard.name).read_bytes()
        assert (len(data), shard.bytes <= 40_000 or shard.triples == 1) == (shard.bytes, True)
        for sample in shards.decode_samples((folder / shard.index_name).read_bytes(), shard, shard.index_name):
            parts = {name: data[at : at + size] for name, (at, size) in sample.members.items()}
            assert sample.triple == (triple := next(triples))
            assert (parts[sample.photo], parts[shards.MAP]) == stored(triple)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return datasets.load_dataset with a cache of its own."""
    import datasets

    datasets.disable_progress_bars()
    cache = str(tmp_path_factory.mktemp("cache"))
    return lambda *arguments, **options: datasets.load_dataset(*arguments, cache_dir=cache, **options)


@pytest.mark.parametrize("maps", ["indexed", "rgb"])
@pytest.mark.parametrize("to", ["imagefolder", "parquet"])
def test_hugging_face_reads_pictures_and_splits(
    exported: Exporter, rooms: Dataset, load: Any, to: str, maps: str
) -> None:
    """The folder loads by its path, with the columns that diffusers' train_controlnet.py expects, in every split."""
    import datasets

    loaded = load(str(exported(to, maps=maps)))

    assert set(loaded) == {"train", "validation", "test"}
    for split, name in HF.items():
        rows, triples = loaded[name], [triple for triple in rooms if triple.split == split]
        assert _diffusers_columns(rows) == ("image", "conditioning_image", "text")
        assert all(isinstance(rows.features[column], datasets.Image) for column in ("image", "conditioning_image"))
        assert [row["key"] for row in rows] == [triple.key for triple in triples]
        for row, triple in zip(rows, triples, strict=True):
            assert (row["text"], row["source"], row["review"]) == (triple.text, triple.source, triple.review)
            assert lines.decode(row["record"].encode()) == triple
            assert row["conditioning_image"].mode == {"indexed": "P", "rgb": "RGB"}[maps]
            assert (rgb(row["conditioning_image"]) == COLORS[triple.labels]).all()
            assert (rgb(row["image"]) == rgb(triple.photo)).all()


def _diffusers_columns(rows: Any) -> tuple[str, str, str]:
    """Return the columns that train_controlnet.py uses without options: by position, then by name."""
    names = rows.column_names
    assert {"image", "conditioning_image", "text"} <= set(names)
    assert all(isinstance(text, str) for text in rows["text"])
    return names[0], "conditioning_image", "text"


def test_a_later_export_is_not_taken_from_the_cache(rooms: Dataset, load: Any, tmp_path: Path) -> None:
    """Hugging Face notices that a folder of the same name holds another export."""
    for to in ("imagefolder", "parquet"):
        for split in ("val", "test"):
            folder = tmp_path / split / to
            pipeline.export(rooms, folder, chosen(to, split=split))
            loaded = load(str(folder))
            assert {name: rows["key"] for name, rows in loaded.items()} == {
                HF[split]: [triple.key for triple in rooms if triple.split == split]
            }


def test_packaged_loaders_read_the_same(exported: Exporter, rooms: Dataset, load: Any) -> None:
    """Named loaders, which do not read the card, find the same splits and picture columns."""
    folder = load("imagefolder", data_dir=str(exported("imagefolder")))
    files = {name: str(exported("parquet") / f"data/{name}-*.parquet") for name in HF.values()}
    parquet = load("parquet", data_files=files)

    for split in HF.values():
        assert folder[split]["key"] == parquet[split]["key"]
        assert folder[split].features["image"] == parquet[split].features["image"]
    assert sum(folder.num_rows.values()) == sum(parquet.num_rows.values()) == len(rooms)


def test_hugging_face_reads_the_shards(exported: Exporter, rooms: Dataset, load: Any) -> None:
    """Its loader for WebDataset finds photos, maps and prompts in the tar files."""
    rows = load("webdataset", data_files=str(exported("webdataset", shard_size="40kB") / "*.tar"))["train"]

    for row, triple in zip(rows, rooms, strict=True):
        assert (row["__key__"], row["txt"], row["json"]["sha256"]) == (triple.key, triple.text, triple.sha256)
        assert (rgb(row["hint.png"]) == COLORS[triple.labels]).all()


def test_photos_in_parquet_are_the_stored_bytes(exported: Exporter, rooms: Dataset) -> None:
    """Bytes are embedded unchanged, in row groups, and several shards are numbered as Hugging Face does."""
    from pyarrow import parquet

    folder = exported("parquet", shard_size="40kB", split="train")
    names = sorted(path.name for path in (folder / "data").iterdir())
    rows = [row for name in names for row in parquet.read_table(folder / "data" / name).to_pylist()]
    triples = [triple for triple in rooms if triple.split == "train"]

    assert names == [f"train-{number:05}-of-{len(names):05}.parquet" for number in range(len(names))]
    assert len(names) > 1
    assert [(row["image"]["bytes"], row["conditioning_image"]["bytes"]) for row in rows] == list(map(stored, triples))


class Fill50k:
    """ControlNet's tutorial_dataset.py: prompt.json line by line, pictures by OpenCV, here by Pillow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with (folder / "prompt.json").open(encoding="utf-8") as file:
            self.data = [json.loads(line) for line in file]

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8], str]]:
        for item in self.data:
            source, target = (rgb(Image.open(self.folder / item[name])) for name in ("source", "target"))
            yield Path(item["target"]).stem, source, target, item["prompt"]


@pytest.mark.parametrize("maps", ["indexed", "rgb"])
def test_controlnets_tutorial_reads_fill50k(exported: Exporter, rooms: Dataset, maps: str) -> None:
    """Training triples are at the top, held-out ones in folders of the same layout."""
    folder = exported("fill50k", maps=maps)

    for split, place in (("train", folder), ("val", folder / "val"), ("test", folder / "test")):
        triples = [triple for triple in rooms if triple.split == split]
        items = list(Fill50k(place))
        assert [(key, prompt) for key, _, _, prompt in items] == [(triple.key, triple.text) for triple in triples]
        for (_, source, target, _), triple in zip(items, triples, strict=True):
            assert (source == COLORS[triple.labels]).all()
            assert (target == rgb(triple.photo)).all()


class Kohya:
    """The rules of sd-scripts' ControlNetDataset, DreamBoothDataset and BucketManager, for one subset."""

    def __init__(self, folder: Path) -> None:
        config = tomllib.loads((folder / "dataset.toml").read_text())
        general, (dataset,) = config["general"], config["datasets"]
        (subset,) = dataset["subsets"]
        assert general["enable_bucket"]
        assert general["bucket_no_upscale"]
        self.steps, self.area = general["bucket_reso_steps"], math.prod(dataset["resolution"])
        photos = self._pictures(folder / subset["image_dir"])
        control_maps = self._pictures(folder / subset["conditioning_data_dir"])
        assert photos.keys() == control_maps.keys()  # missing maps abort, extra ones abort or warn
        self.items = [
            (name, self._load(path), self._load(control_maps[name]), self._caption(path, general["caption_extension"]))
            for name, path in sorted(photos.items())
        ]

    @staticmethod
    def _pictures(folder: Path) -> dict[str, Path]:
        pictures = [path for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".jpeg", ".webp", ".bmp")]
        assert len({path.stem for path in pictures}) == len(pictures)
        return {path.stem: path for path in pictures}

    def _load(self, path: Path) -> NDArray[np.uint8]:
        pixels = rgb(Image.open(path))
        height, width = pixels.shape[:2]
        assert width * height <= self.area, "the picture would be scaled down"
        assert width % self.steps == height % self.steps == 0, "the picture would be cropped"
        return pixels

    @staticmethod
    def _caption(photo: Path, extension: str) -> str:
        path = photo.with_suffix(extension)
        if not path.exists():
            return ""
        caption = path.read_text(encoding="utf-8").splitlines()
        assert caption, "caption file is empty"
        return caption[0].strip()


@pytest.mark.parametrize("maps", ["indexed", "rgb"])
def test_sd_scripts_read_kohya(exported: Exporter, rooms: Dataset, maps: str) -> None:
    """Every photo has its map, no picture is scaled or cropped, and held-out triples are apart."""
    folder = exported("kohya", maps=maps)

    for split, place in (("train", folder), ("val", folder / "val"), ("test", folder / "test")):
        triples = sorted((triple for triple in rooms if triple.split == split), key=lambda triple: triple.key)
        items = Kohya(place).items
        captions = [(triple.key, " ".join(triple.text.split())) for triple in triples]
        assert [(key, caption) for key, _, _, caption in items] == captions
        for (_, photo, control, _), triple in zip(items, triples, strict=True):
            assert photo.shape == control.shape
            assert (control == COLORS[triple.labels]).all()
            assert (place / f"img/{triple.key}{Path(triple.file_name).suffix}").read_bytes() == stored(triple)[0]


def test_panoptic_tools_read_coco(exported: Exporter, rooms: Dataset) -> None:
    """The rules of panopticapi: ids of PNG and JSON agree, with areas and boxes, and lead to the same classes."""
    folder = exported("coco-panoptic")

    for split in HF:
        content = json.loads((folder / f"annotations/panoptic_{split}.json").read_text())
        images = {image["id"]: image for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        triples = [triple for triple in rooms if triple.split == split]
        assert [image["file_name"][:16] for image in content["images"]] == [triple.key for triple in triples]
        assert all(category["isthing"] == 0 for category in content["categories"])
        for annotation, triple in zip(content["annotations"], triples, strict=True):
            image = images[annotation["image_id"]]
            pixels = np.array(Image.open(folder / f"annotations/panoptic_{split}" / annotation["file_name"]), np.uint32)
            ids = pixels[:, :, 0] + 256 * pixels[:, :, 1] + 256 * 256 * pixels[:, :, 2]
            assert (image["width"], image["height"]) == ids.shape[::-1] == (triple.width, triple.height)
            assert {segment["id"] for segment in annotation["segments_info"]} == set(np.unique(ids).tolist()) - {0}
            assert ((ids == 0) == (triple.labels == 255)).all()
            for segment in annotation["segments_info"]:
                mask = ids == segment["id"]
                left, top, width, height = segment["bbox"]
                assert segment["area"] == mask.sum() == mask[top : top + height, left : left + width].sum()
                assert mask[top].any() and mask[top + height - 1].any()  # noqa: PT018
                assert (mask == (triple.labels == ADE.find(names[segment["category_id"]]).index)).all()
            assert (folder / split / image["file_name"]).read_bytes() == stored(triple)[0]


def test_label_ids_are_the_labels(exported: Exporter, rooms: Dataset) -> None:
    """Greyscale values are the indices, and the lists of classes are in their order."""
    folder = exported("label-ids")

    for triple in rooms:
        with Image.open(folder / f"labels/{triple.split}/{triple.key}.png") as image:
            assert image.mode == "L"
            assert (np.asarray(image) == triple.labels).all()
        suffix = Path(triple.file_name).suffix
        assert (folder / f"images/{triple.split}/{triple.key}{suffix}").read_bytes() == stored(triple)[0]
    assert Palette.load(folder / "classes.csv").swatches == ADE.swatches
    assert (folder / "classes.txt").read_text().splitlines() == [swatch.name for swatch in ADE]


@pytest.mark.parametrize("to", ["imagefolder", "fill50k", "kohya"])
def test_segkit_reads_its_own_layouts(exported: Exporter, rooms: Dataset, to: str) -> None:
    """The readers of training find the training triples, and the splits where the layout has them."""
    listing = layouts.read(exported(to))
    expected = list(rooms) if to == "imagefolder" else [triple for triple in rooms if triple.split == "train"]

    assert listing.layout == to
    assert {(entry.photo.stem, entry.control_map.stem, entry.split) for entry in listing.entries} == {
        (triple.key, triple.key, triple.split) for triple in expected
    }


@pytest.mark.parametrize("to", ["imagefolder", "fill50k", "kohya", "coco-panoptic", "label-ids"])
def test_the_record_restores_every_triple(exported: Exporter, rooms: Dataset, to: str) -> None:
    """What a layout cannot hold, such as splits, decisions and keys of other tools, is in the hidden folder."""
    folder = exported(to)

    parts = sorted((folder / ".segkit-export" / "parts").iterdir())
    assert [lines.decode(line) for part in parts for line in part.read_bytes().splitlines()] == list(rooms)


def test_the_card_states_classes_and_licence(exported: Exporter, rooms: Dataset) -> None:
    """Its header is read by the Hub's library, and every class has its share."""
    from huggingface_hub import DatasetCard

    for to in ("imagefolder", "parquet"):
        text = contents(exported(to))["README.md"].decode()
        header = DatasetCard(text).data
        assert (header["license"], header["pretty_name"]) == ("unknown", "test rooms")
        assert "| 6 | road | `#8C8C8C` |" in text
        assert "Control maps: `brightness` at revision 1" in text
        assert "## Licences" in text
