"""Stable Diffusions of real architectures with random weights."""

from typing import Any

import pytest
import torch

from segkit.models import hub
from segkit.toy.learn import diffusion, networks
from trainer.checkpoints import families

WORDS = ("sofa", "windowpane", ",")


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """A small Stable Diffusion. Do not modify it."""
    with hub.quiet():
        return diffusion.stable_diffusion(WORDS)


@pytest.fixture(scope="module")
def large(pipeline: Any) -> Any:
    """The Stable Diffusion XL that starts from it. Do not modify it."""
    with hub.quiet():
        return diffusion.stable_diffusion_xl(pipeline, seed=3)


def test_each_word_is_one_token_of_the_diffusion_model(pipeline: Any) -> None:
    """Other words are spelt in several tokens, and all ids have an embedding."""
    tokenizer = pipeline.tokenizer

    for word in WORDS:
        assert len(tokenizer(word).input_ids) == 3  # start and end included
    assert len(tokenizer("zebra").input_ids) > 3
    assert pipeline.text_encoder.config.vocab_size == len(tokenizer)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (len(tokenizer) - 2, len(tokenizer) - 1)


def test_latents_have_a_quarter_of_the_photos_side(pipeline: Any) -> None:
    """Photos of 64 pixels become 4 channels of 16 x 16, which the UNet denoises at their size."""
    with torch.no_grad():
        latents = pipeline.vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean
        hidden_states = pipeline.text_encoder(pipeline.tokenizer("sofa", return_tensors="pt").input_ids)[0]
        noise_pred = pipeline.unet(latents, 10, hidden_states).sample

    assert latents.shape == noise_pred.shape == (1, 4, 16, 16)


def test_parameters_of_all_parts_are_counted(pipeline: Any) -> None:
    """A pipeline has those of UNet, VAE and text encoder: 4.8 million, most of them in the UNet."""
    parts = [networks.parameters(part) for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)]

    assert networks.parameters(pipeline) == sum(parts)
    assert 4.3e6 < sum(parts) < 5.3e6
    assert max(parts) == parts[0]


def test_the_large_one_has_the_structure_of_sdxl(large: Any) -> None:
    """Its family is SDXL, and it takes pooled prompts and sizes; 5.1 million parameters are its own."""
    pipeline_class = type(large).__name__
    family = families.of(large.unet.config)
    text_encoders = (large.text_encoder, large.text_encoder_2)
    conditioning = families.conditioning(large.unet.config)

    assert (family.title, family.pipeline) == ("Stable Diffusion XL", pipeline_class)
    assert [type(network).__name__ for network in text_encoders] == [part.kind for part in family.text_encoders]
    assert conditioning.width == sum(network.config.hidden_size for network in text_encoders)
    assert conditioning.pooled == large.text_encoder_2.config.projection_dim
    assert large.tokenizer_2.pad_token == family.text_encoders[1].padding
    assert 4.6e6 < networks.parameters(large) - networks.parameters(large.vae) < 5.6e6


def test_the_large_one_starts_from_what_the_base_learned(pipeline: Any, large: Any) -> None:
    """Weights are the base's wherever they fit; VAE and words are shared; the base is unchanged and pads as before."""
    block, other = (network.unet.mid_block.resnets[0].conv1.weight for network in (pipeline, large))
    token, wide = (network.unet.down_blocks[1].attentions[0].proj_in.weight.flatten(1) for network in (pipeline, large))
    first, second = (network.text_encoder.get_input_embeddings().weight for network in (pipeline, large))

    assert large.vae is pipeline.vae
    assert large.tokenizer.get_vocab() == pipeline.tokenizer.get_vocab()
    assert pipeline.tokenizer.pad_token != large.tokenizer_2.pad_token
    assert all(torch.equal(*pair) for pair in ((block, other), (token, wide), (first, second)))


def test_the_large_one_depends_on_its_seed_only_where_nothing_was_copied(pipeline: Any, large: Any) -> None:
    """The second text encoder is random; what the base learned is not."""
    with hub.quiet():
        other = diffusion.stable_diffusion_xl(pipeline, seed=4)

    assert not torch.equal(large.text_encoder_2.text_projection.weight, other.text_encoder_2.text_projection.weight)
    assert torch.equal(large.unet.conv_in.weight, other.unet.conv_in.weight)
