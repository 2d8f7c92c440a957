"""Networks of real architectures with random weights."""

from pathlib import Path
from typing import Any

import torch

from segkit.models import hub
from segkit.palette import Palette
from segkit.toy.learn import networks
from segkit.toy.world import grammar

TWO = Palette("two", Palette.load("ade20k").swatches[:2])


def weights(network: Any) -> torch.Tensor:
    """Return all weights of a network in one vector."""
    return torch.cat([weight.detach().flatten().float() for weight in network.parameters()])


def test_weights_depend_on_the_seed() -> None:
    """Equal seeds give equal weights, another seed gives others."""
    first, again, other = (weights(networks.oneformer(TWO, seed=seed)[0]) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_oneformer_has_the_classes_of_the_palette() -> None:
    """Labels follow the order of the palette."""
    model, _ = networks.oneformer(TWO)

    assert model.config.id2label == {0: TWO[0].name, 1: TWO[1].name}


def test_blip_knows_its_words_and_fillers_up_to_the_size() -> None:
    """Each word is one token, other words are unknown, and captions can begin and end."""
    model, processor = networks.blip(("red", "bed"))
    tokenizer = processor.tokenizer

    ids = tokenizer("a red bed", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[UNK]", "red", "bed"]
    assert len(tokenizer) == model.config.text_config.vocab_size == networks.SMALL.vocabulary
    assert tokenizer.bos_token_id == model.config.text_config.bos_token_id
    assert tokenizer.sep_token_id == model.config.text_config.eos_token_id


def test_the_toy_blip_knows_exactly_the_words_of_the_toy_world() -> None:
    """Without a minimum size there are no fillers."""
    words = grammar.vocabulary()

    _, processor = networks.blip(words, networks.TOY)

    assert len(processor.tokenizer) == len(words) + 7


def test_a_written_network_is_read_back_in_fp16(tmp_path: Path) -> None:
    """The folder has the format of transformers, with the halved weights and the processor beside them."""
    from transformers import BlipForConditionalGeneration, BlipProcessor

    model, processor = networks.blip()
    networks.halve(model)
    with hub.quiet():
        folder = networks.write(tmp_path / "a" / "blip", (model, processor))
        again = BlipForConditionalGeneration.from_pretrained(folder, dtype="auto", local_files_only=True)
        tokenizer = BlipProcessor.from_pretrained(folder, local_files_only=True).tokenizer

    assert {weight.dtype for weight in again.parameters()} == {torch.float16}
    assert torch.equal(weights(again), weights(model))
    assert tokenizer.get_vocab() == processor.tokenizer.get_vocab()


def test_every_letter_is_a_token_of_the_counting_tokenizer(tmp_path: Path) -> None:
    """Start and end are counted too, and no letters are merged."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(networks.write_clip_tokenizer(tmp_path / "clip"))

    assert len(tokenizer("a bed").input_ids) == 2 + 4
