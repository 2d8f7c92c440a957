"""models.caption: BLIP and other image-text-to-text networks caption photos, batched or one by one."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from segkit.errors import ModelError
from segkit.models.caption import NeuralCaptioner, _load_processor, _strip_prompt
from segkit.models.device import Device
from segkit.models.hub import Source, quiet
from segkit.toy import world
from tests.conftest import Models
from tests.models import talkers

CPU = Device("cpu", "fp32")

Talker = Callable[[str], NeuralCaptioner]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Talker:
    """Return a function that loads a captioner by kind."""
    writers = {
        "blip": lambda _: models.blip,
        "blip2": talkers.write_blip2,
        "llava": talkers.write_llava,
        "florence2": talkers.write_florence2,
    }

    def load(kind: str) -> NeuralCaptioner:
        task = "<DETAILED_CAPTION>" if kind == "florence2" else ""
        with quiet():
            return NeuralCaptioner(str(writers[kind](tmp_path_factory.mktemp(kind))), CPU, max_tokens=6, task=task)

    return load


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    """Three photos of two sizes."""
    return [world.scene(seed, ((320, 240), (240, 320))[seed % 2]).photo for seed in range(3)]


@pytest.mark.parametrize("kind", ["blip", "blip2", "llava", "florence2"])
def test_a_batch_gives_the_captions_of_single_photos(talker: Talker, photos: list[Image.Image], kind: str) -> None:
    """A batch of photos of different sizes gets the captions that each photo gets alone."""
    captioner = talker(kind)

    together = captioner(photos)

    assert together == [captioner([photo])[0] for photo in photos]
    assert any(together)


@pytest.mark.parametrize("kind", ["blip", "llava", "florence2"])
def test_the_caption_contains_neither_prompt_nor_special_tokens(
    talker: Talker, photos: list[Image.Image], kind: str
) -> None:
    """The prompt, a chat's roles and special tokens such as [DEC] and </s> are not part of the caption."""
    for text in talker(kind)(photos):
        assert not {"USER", "ASSISTANT", "Describe", "sentence"} & set(text.split())
        assert not set("[]<>") & set(text)


@pytest.mark.parametrize("repeated", [True, False])
def test_the_prompt_is_stripped_only_where_repeated(repeated: bool) -> None:
    """Networks that repeat the prompt and networks that return only new tokens yield the same answer."""
    prompt = torch.tensor([[0, 5, 6, 7], [4, 5, 6, 7]])  # padded on the left
    answer = torch.tensor([[8, 9, 2, 3, 1], [9, 2, 0, 0, 0]])
    tokens = torch.cat([prompt, answer], 1) if repeated else answer

    stripped = _strip_prompt({"input_ids": prompt}, tokens)

    assert torch.equal(stripped, answer)


def test_no_photos_no_captions(talker: Talker) -> None:
    """An empty batch yields an empty list."""
    assert talker("blip")([]) == []


def test_length_is_limited(models: Models, photos: list[Image.Image]) -> None:
    """A caption has at most max_tokens tokens."""
    short = NeuralCaptioner(str(models.blip), CPU, max_tokens=2)(photos)

    assert all(len(text.split()) <= 2 for text in short)


def test_beam_search_captions_batches(models: Models, photos: list[Image.Image]) -> None:
    """With beam search, a batch gets the captions that each photo gets alone."""
    captioner = NeuralCaptioner(str(models.blip), CPU, max_tokens=5, beams=3)

    assert captioner(photos) == [captioner([photo])[0] for photo in photos]


def test_bf16_captions_on_a_cpu(models: Models, photos: list[Image.Image]) -> None:
    """Captioning works under bf16 autocast on a CPU."""
    assert len(NeuralCaptioner(str(models.blip), Device("cpu", "bf16"), 6)(photos)) == 3


def test_missing_tokenizer_is_refused(models: Models, tmp_path: Path) -> None:
    """A BLIP folder without its tokenizer is refused: transformers would map all words to one token."""
    folder = tmp_path / "blip"
    shutil.copytree(models.blip, folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()

    with pytest.raises(ModelError, match="captioner ") as refused:
        NeuralCaptioner(str(folder), CPU)

    assert "tokenizer" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_network_that_cannot_be_prompted_is_refused(tmp_path: Path, photos: list[Image.Image]) -> None:
    """A chat model without a chat template ends in one line instead of a failure inside transformers."""
    with quiet():
        captioner = NeuralCaptioner(str(talkers.write_llava(tmp_path / "mute", template=None)), CPU)

    with pytest.raises(ModelError, match="cannot be prompted for a caption") as refused:
        captioner(photos)

    assert "\n" not in str(refused.value)


def test_a_segmenter_does_not_caption(models: Models) -> None:
    """A network of another kind is refused in one line that names its type."""
    with pytest.raises(ModelError, match="a model of type oneformer does not caption") as refused:
        NeuralCaptioner(str(models.oneformer), CPU)

    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def florence2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Florence-2. Do not change it."""
    with quiet():
        return talkers.write_florence2(tmp_path_factory.mktemp("florence2"))


@pytest.mark.parametrize("task", ["", "<OD>", "<OCR>", "describe"])
def test_florence2_needs_a_captioning_task(florence2: Path, task: str) -> None:
    """Without a task token, or with one whose answer is not text, Florence-2 ends in one line that names the option."""
    with pytest.raises(ModelError, match=r"caption_task.*<DETAILED_CAPTION>") as refused:
        NeuralCaptioner(str(florence2), CPU, task=task)

    assert "\n" not in str(refused.value)


def test_florence2_receives_the_prompt_of_its_task(florence2: Path, photos: list[Image.Image]) -> None:
    """The inputs equal those that Florence-2's processor creates for the task token, for each photo."""
    captioner = NeuralCaptioner(str(florence2), CPU, task="<CAPTION>")

    inputs = captioner._inputs(photos)["input_ids"]

    expected = captioner._processor(images=photos[0], text="<CAPTION>", return_tensors="pt")["input_ids"]
    other = captioner._processor(images=photos[0], text="<MORE_DETAILED_CAPTION>", return_tensors="pt")["input_ids"]
    assert torch.equal(inputs, expected.repeat(len(photos), 1))
    assert expected.tolist() != other.tolist()


def test_a_task_replaces_a_chat_models_instruction(tmp_path: Path, photos: list[Image.Image]) -> None:
    """A chat model is asked the task, and not the default instruction."""
    with quiet():
        captioner = NeuralCaptioner(str(talkers.write_llava(tmp_path / "llava")), CPU, task="picture in one sentence")

    (text,) = captioner._processor.batch_decode(captioner._inputs(photos[:1])["input_ids"])

    assert "picture in one sentence" in text
    assert "Describe" not in text


def test_a_task_begins_blips_captions(models: Models, photos: list[Image.Image]) -> None:
    """BLIP continues the task's text."""
    captions = NeuralCaptioner(str(models.blip), CPU, max_tokens=6, task="a photo of")(photos)

    assert all(caption.startswith("a photo of") for caption in captions)


def test_moondream_is_refused(tmp_path: Path) -> None:
    """A model that consists of remote code ends in one line, and its code is not run."""
    folder, trace = tmp_path / "moondream2", tmp_path / "trace"
    folder.mkdir()
    auto_map = {"AutoConfig": "hf_moondream.HfConfig", "AutoModelForCausalLM": "hf_moondream.HfMoondream"}
    (folder / "config.json").write_text(json.dumps({"model_type": "moondream1", "auto_map": auto_map}))
    (folder / "hf_moondream.py").write_text(f"open({str(trace)!r}, 'w')")
    (folder / "model.safetensors").touch()

    with pytest.raises(ModelError, match=r"needs remote code, which segkit never runs\. Use blip-large") as refused:
        NeuralCaptioner(str(folder), CPU)

    assert "\n" not in str(refused.value)
    assert not trace.exists()


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_that_needs_torchvision_is_refused(tmp_path: Path) -> None:
    """Qwen-VL, whose video processor needs torchvision, ends in one line that says how to install it."""
    talkers.write_processor_with_video(tmp_path, "qwen2_5_vl", "Qwen2_5_VLProcessor")

    with pytest.raises(ModelError, match="pip install torchvision") as refused:
        _load_processor(Source("qwen", tmp_path, ""))

    assert "\n" not in str(refused.value)
