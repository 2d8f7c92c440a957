"""Families are recognised by structure, and say how prompts are encoded and what else conditions a network."""

from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.errors import ModelError
from trainer.checkpoints import families, load
from trainer.checkpoints.families import SD1, SD2, SDXL, Conditioning


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"cross_attention_dim": 24}, SD1),
        ({"cross_attention_dim": 24, "use_linear_projection": True}, SD2),
        ({"cross_attention_dim": 24, "use_linear_projection": True, "addition_embed_type": "text_time"}, SDXL),
        ({"cross_attention_dim": 24, "use_linear_projection": False, "addition_embed_type": "text_time"}, SDXL),
        ({"cross_attention_dim": 2048, "addition_embed_type": None}, SD1),
    ],
)
def test_structure_decides_and_not_the_width(config: dict[str, Any], family: families.Family) -> None:
    """A network of any width belongs to the family whose structure it has."""
    assert families.of(config) is family


def test_the_released_widths() -> None:
    """A released SDXL gets 2,048 values a token, 1,280 a prompt and six numbers; SD1 and SD2 only the first."""
    released = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    released |= {"projection_class_embeddings_input_dim": 2816, "cross_attention_dim": 2048}

    assert families.conditioning(released) == Conditioning(2048, 1280)
    assert families.conditioning({"cross_attention_dim": 768}) == Conditioning(768)
    assert families.whole(1024, 768) == (768, 1024, 0, 0, 768, 1024)


def test_an_embedding_is_taken_apart_again() -> None:
    """What is packed into one tensor per prompt reaches the networks as hidden states and pooled embedding."""
    conditioning, generator = Conditioning(5, 3), torch.Generator().manual_seed(0)
    hidden_states, pooled = torch.randn(2, 77, 5, generator=generator), torch.randn(2, 3, generator=generator)
    prompts = torch.stack([torch.cat([hidden_states[place].flatten(), pooled[place]]) for place in range(2)])
    time_ids = torch.ones(2, 6)

    unpacked, more = conditioning.inputs(prompts, time_ids)

    assert tuple(prompts.shape[1:]) == conditioning.shape(77)
    assert torch.equal(unpacked, hidden_states)
    assert torch.equal(more["added_cond_kwargs"]["text_embeds"], pooled)
    assert more["added_cond_kwargs"]["time_ids"] is time_ids
    assert Conditioning(5).inputs(hidden_states, None) == (hidden_states, {})


@torch.no_grad()
def test_an_sdxl_is_loaded_as_by_diffusers(sdxl: Path) -> None:
    """Every part of the folder is loaded bit for bit, and prompts are encoded as its pipeline encodes them."""
    from diffusers import StableDiffusionXLPipeline

    loaded = load.load_base(str(sdxl))
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl, local_files_only=True)
    expected, _, pooled, _ = pipeline.encode_prompt("a room", device="cpu", do_classifier_free_guidance=False)

    tokens = families.tokenize(loaded.tokenizers, "a room", 77)
    encoded = loaded.family.encode(loaded.text_encoders, tokens)

    assert (loaded.family, loaded.prediction, loaded.guess) == (SDXL, "epsilon", None)
    for name, part in loaded.parts.items():
        if not name.startswith("tokenizer"):
            state, other = part.state_dict(), getattr(pipeline, name).state_dict()
            assert state.keys() == other.keys()
            assert all(torch.equal(state[key], other[key]) for key in state), name
    hidden_states, more = loaded.conditioning.inputs(encoded[None], torch.zeros(1, 6))
    assert torch.equal(hidden_states, expected)
    assert torch.equal(more["added_cond_kwargs"]["text_embeds"], pooled)
    assert [tokenizer.pad_token for tokenizer in loaded.tokenizers] == ["<|endoftext|>", "!"]


def test_a_base_whose_text_encoders_do_not_fit_is_refused(sdxl: Path, tmp_path: Path) -> None:
    """A UNet that expects other embeddings, such as a refiner's, is refused before it computes nonsense."""
    import json
    import shutil

    folder = shutil.copytree(sdxl, tmp_path / "base", copy_function=shutil.copy)
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"addition_time_embed_dim": 7}))

    with pytest.raises(ModelError, match=r"return 64 values a token and 40 a prompt, its UNet expects 64 and 46\."):
        load.load_base(str(folder))


def test_another_vae_replaces_the_bases_own(sdxl: Path, base: Path, tmp_path: Path) -> None:
    """A VAE's folder, or that of a base, replaces the VAE; one that scales latents otherwise is refused."""
    import json
    import shutil

    shutil.copytree(sdxl / "vae", tmp_path / "vae", copy_function=shutil.copy)
    path = tmp_path / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"force_upcast": False}))

    assert load.load_base(str(sdxl), vae=str(tmp_path / "vae")).vae.config.force_upcast is False
    assert load.load_base(str(sdxl), vae=str(sdxl)).vae.config.force_upcast is True
    with pytest.raises(ModelError, match=r"scaling_factor is 0.18215, that of the base's latents 0.13025. Use a VAE"):
        load.load_base(str(sdxl), vae=str(base))
    with pytest.raises(ModelError, match="no such file or folder"):
        load.load_base(str(sdxl), vae=str(tmp_path / "nowhere"))
