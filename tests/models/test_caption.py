"""models.caption: BLIP and other image-text-to-text networks caption offline, a batch as single photos."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from segkit.errors import ModelError
from segkit.models.caption import NeuralCaptioner, _answers
from segkit.models.device import Device
from segkit.models.hub import quiet
from segkit.toy import world
from tests.conftest import Models
from tests.models import talkers

CPU = Device("cpu", "fp32")

Talker = Callable[[str], NeuralCaptioner]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Talker:
    """Load a captioner by kind."""
    folders = {"blip": lambda _: models.blip, "blip2": talkers.write_blip2, "llava": talkers.write_llava}

    def load(kind: str) -> NeuralCaptioner:
        with quiet():
            return NeuralCaptioner(str(folders[kind](tmp_path_factory.mktemp(kind))), CPU, max_tokens=6)

    return load


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    """Three photos of two sizes."""
    return [world.scene(seed, ((320, 240), (240, 320))[seed % 2]).photo for seed in range(3)]


@pytest.mark.parametrize("kind", ["blip", "blip2", "llava"])
def test_a_batch_says_what_single_photos_say(talker: Talker, photos: list[Image.Image], kind: str) -> None:
    """Every kind captions photos of any sizes together, in the words that it has for each alone."""
    captioner = talker(kind)

    together = captioner(photos)

    assert together == [captioner([photo])[0] for photo in photos]
    assert any(together)


@pytest.mark.parametrize("kind", ["blip", "llava"])
def test_the_caption_holds_neither_question_nor_marks(talker: Talker, photos: list[Image.Image], kind: str) -> None:
    """The question, a chat's roles and special tokens such as [DEC] and [ENC] are not part of the caption."""
    for text in talker(kind)(photos):
        assert not {"USER", "ASSISTANT", "Describe", "sentence"} & set(text.split())
        assert not set("[]<>") & set(text)


@pytest.mark.parametrize("repeated", [True, False])
def test_the_question_is_cut_off_only_where_repeated(repeated: bool) -> None:
    """Networks that repeat the question and those that return new tokens only give the same answer."""
    question = torch.tensor([[0, 5, 6, 7], [4, 5, 6, 7]])  # padded on the left
    answer = torch.tensor([[8, 9, 2, 3, 1], [9, 2, 0, 0, 0]])
    tokens = torch.cat([question, answer], 1) if repeated else answer

    found = _answers({"input_ids": question}, tokens)

    assert torch.equal(found, answer)


def test_no_photos_no_captions(talker: Talker) -> None:
    """An empty batch is no error."""
    assert talker("blip")([]) == []


def test_length_is_held(models: Models, photos: list[Image.Image]) -> None:
    """A caption has at most the tokens asked for."""
    short = NeuralCaptioner(str(models.blip), CPU, max_tokens=2)(photos)

    assert all(len(text.split()) <= 2 for text in short)


def test_beams_search_wider(models: Models, photos: list[Image.Image]) -> None:
    """A beam search captions every photo, a batch as single photos."""
    captioner = NeuralCaptioner(str(models.blip), CPU, max_tokens=5, beams=3)

    assert captioner(photos) == [captioner([photo])[0] for photo in photos]


def test_bf16_captions_on_a_cpu(models: Models, photos: list[Image.Image]) -> None:
    """Autocast to bf16 runs on a CPU."""
    assert len(NeuralCaptioner(str(models.blip), Device("cpu", "bf16"), 6)(photos)) == 3


def test_missing_tokenizer_is_refused(models: Models, tmp_path: Path) -> None:
    """A BLIP folder without its tokenizer is refused: transformers would make one up in which all words are one."""
    folder = tmp_path / "blip"
    shutil.copytree(models.blip, folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()

    with pytest.raises(ModelError, match="--captioner") as refused:
        NeuralCaptioner(str(folder), CPU)

    assert "tokenizer" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_network_that_wants_a_question_is_refused(tmp_path: Path, photos: list[Image.Image]) -> None:
    """A chat model without its template is told in one line instead of failing inside transformers."""
    with quiet():
        captioner = NeuralCaptioner(str(talkers.write_llava(tmp_path / "mute", template=None)), CPU)

    with pytest.raises(ModelError, match="cannot be asked for a caption") as refused:
        captioner(photos)

    assert "\n" not in str(refused.value)


def test_a_segmenter_does_not_caption(models: Models) -> None:
    """A network of another kind is refused in one line."""
    with pytest.raises(ModelError, match="cannot be loaded") as refused:
        NeuralCaptioner(str(models.oneformer), CPU)

    assert "\n" not in str(refused.value)
