"""SDXL's single files and ControlNets: every name and shape of the full size, and every value of small networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segkit.errors import ModelError
from segkit.models import tokens
from tests.conftest import Models
from tests.trainer import single_file as layout
from trainer.checkpoints import blocks, configs, families, identify, inspect, ldm, load, safe_load, single_file

Shapes = dict[str, tuple[int, ...]]
SECOND = "conditioner.embedders.1.model."

UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""The published configuration of SDXL's UNet, as far as it differs from diffusers' defaults."""
TINY_UNET = UNET | {
    "block_out_channels": (32, 64, 64),
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": (1, 1, 1),
    "cross_attention_dim": 96,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 40 + 6 * 8,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.13025,
    "sample_size": 1024,
}
TINY_VAE = VAE | {"block_out_channels": (32, 32, 32, 32)}
CLIP = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "hidden_act": "quick_gelu", "projection_dim": 768}  # fmt: skip
OPEN_CLIP = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
             "hidden_act": "gelu", "projection_dim": 1280}  # fmt: skip
TINY_CLIP = CLIP | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 1,
                    "projection_dim": 32}  # fmt: skip
TINY_OPEN_CLIP = TINY_CLIP | {"hidden_size": 64, "hidden_act": "gelu", "projection_dim": 40}


class Sdxl:
    """The networks of an SDXL, built by diffusers and transformers from their published configurations."""

    def __init__(self, unet: Any, vae: Any, first: Any, second: Any) -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        self.unet = UNet2DConditionModel(**unet).eval()
        self.vae = AutoencoderKL(**vae).eval()
        self.text_encoders = (
            CLIPTextModel(CLIPTextConfig(**first)).eval(),
            CLIPTextModelWithProjection(CLIPTextConfig(**second)).eval(),
        )

    def state(self) -> dict[str, Tensor]:
        """Return the weights under the names of Stability's file."""
        return layout.sdxl_state(self.unet, self.vae, self.text_encoders)


@pytest.fixture(scope="module")
def full() -> Sdxl:
    """SDXL's networks in full size, without values."""
    with torch.device("meta"):
        return Sdxl(UNET, VAE, CLIP, OPEN_CLIP)


@pytest.fixture(scope="module")
def tiny(models: Models) -> Sdxl:
    """Small networks of SDXL's architecture with random values: do not modify them."""
    entries = len(tokens.load(str(models.clip)))
    vocabulary = {"vocab_size": entries, "bos_token_id": entries - 2, "eos_token_id": entries - 1}
    torch.manual_seed(0)
    return Sdxl(TINY_UNET, TINY_VAE, TINY_CLIP | vocabulary, TINY_OPEN_CLIP | vocabulary)


def shapes(weights: Mapping[str, Tensor]) -> Shapes:
    """Return the shape of each weight."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def differing(inferred: Mapping[str, Any], actual: Any) -> set[str]:
    """Return the entries of an inferred configuration that differ from a network's."""

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return {name for name, value in inferred.items() if plain(value) != plain(getattr(actual, name))}


def test_every_weight_of_the_full_size_has_its_name_and_shape(full: Sdxl) -> None:
    """2,515 tensors of the released base become exactly the weights of diffusers' and transformers' networks."""
    state = full.state()
    assert len(state) == 2515
    networks = (full.unet, full.vae, *full.text_encoders)
    counts = [sum(weight.numel() for weight in network.parameters()) for network in networks]
    assert counts == [2_567_463_684, 83_653_863, 123_060_480, 694_659_840]

    converted = [single_file.unet_weights(state), single_file.vae_weights(state)]
    converted += [single_file.text_encoder_weights(state, f"conditioner.embedders.{number}.") for number in range(2)]

    for (config, weights), network in zip(converted, networks, strict=True):
        assert shapes(weights) == shapes(network.state_dict())
        assert differing(config, network.config) <= {"bos_token_id", "eos_token_id"}
    # transformers finds the end of a text by eos_token_id, or, where it is 2, by the largest token: the same one
    assert converted[2][0]["eos_token_id"] == 49407


@pytest.mark.parametrize("layers", [(1, 2, 10), (1, 0, 1), None], ids=["full", "mid", "small"])
@pytest.mark.parametrize("written", ["diffusers", "ldm"])
def test_a_controlnet_is_read_with_the_blocks_that_it_has(layers: tuple[int, ...] | None, written: str) -> None:
    """The full ControlNet and its smaller variants get diffusers' names and shapes, from files in both layouts."""
    config: dict[str, Any] = {name: UNET[name] for name in UNET if name not in ("sample_size", "up_block_types")}
    if layers:
        config["transformer_layers_per_block"] = layers
    else:
        config |= {"down_block_types": ("DownBlock2D",) * 3, "transformer_layers_per_block": (1, 1, 1)}
    network = ldm.empty(config)
    state = network.state_dict() if written == "diffusers" else layout.ldm_unet(network, "")
    identity = identify.identify(safe_load.Tensors(Path("a.safetensors"), state))
    assert (identity.kind, identity.family, identity.layout) == ("controlnet", "SDXL", written)

    read = blocks.controlnet(state, configs.released("sdxl"), identity.layout, identity.prefix)

    assert ldm.shapes(ldm.empty(read), identity) == shapes(state)
    assert differing(read, network.config) <= {"transformer_layers_per_block"}  # of levels without attention


def saved_state(networks: Sdxl) -> dict[str, Tensor]:
    """Return the weights as they can be saved."""
    state = networks.state()
    return {name: torch.ones(()) if weight.is_meta else weight.contiguous() for name, weight in state.items()}


def test_a_small_base_survives_a_round_trip(tiny: Sdxl, tmp_path: Path) -> None:
    """A file with the names of Stability's gives equal weights and equal outputs, as .safetensors and as .ckpt."""
    state = saved_state(tiny)
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")

    for name in ("a.safetensors", "a.ckpt"):
        tensors = safe_load.read(tmp_path / name)
        identity = identify.identify(tensors)
        assert (identity.kind, identity.family, identity.purpose) == ("stable-diffusion", "SDXL", "")
        networks = (single_file.unet(tensors), single_file.vae(tensors), *single_file.text_encoders(tensors))
        for network, original in zip(networks, (tiny.unet, tiny.vae, *tiny.text_encoders), strict=True):
            first, second = network.state_dict(), original.state_dict()
            assert first.keys() == second.keys()
            assert all(torch.equal(first[key], second[key]) for key in first)
    for one, other in zip(outputs(*networks), outputs(tiny.unet, tiny.vae, *tiny.text_encoders), strict=True):
        assert torch.equal(one, other)


def outputs(unet: Any, vae: Any, first: Any, second: Any) -> list[Tensor]:
    """Return what the networks compute for one input: hidden states, pooled prompt, prediction, picture."""
    generator = torch.Generator().manual_seed(0)
    end = first.config.eos_token_id
    input_ids = torch.tensor([[end - 1, 5, 7, end, end, end]])
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.no_grad():
        both = [encoder(input_ids, output_hidden_states=True) for encoder in (first, second)]
        prompt = torch.cat([output.hidden_states[-2] for output in both], -1)
        added = {"text_embeds": both[1][0], "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
        noise = unet(latents, torch.tensor([500]), prompt, added_cond_kwargs=added).sample
        return [prompt, both[1][0], noise, vae.decode(latents).sample]


@pytest.mark.parametrize("mark", ["", "v_pred"])
def test_a_file_becomes_a_base(tiny: Sdxl, models: Models, tmp_path: Path, mark: str) -> None:
    """A file without a VAE gets another; its prediction type is measured unless the file records it."""
    state = {name: weight.half() for name, weight in saved_state(tiny).items() if "first_stage" not in name}
    marks = {mark: torch.ones(0), "ztsnr": torch.ones(0)} if mark else {}
    save_file(state | marks, tmp_path / "a.safetensors")
    tiny.vae.save_pretrained(tmp_path / "vae")

    with pytest.raises(ModelError, match="it lacks first_stage_model"):
        load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))
    base = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip), vae=str(tmp_path / "vae"))

    assert base.family is families.SDXL
    assert [tokenizer.pad_token for tokenizer in base.tokenizers] == ["<|endoftext|>", "!"]
    assert base.prediction == ("v_prediction" if mark else "epsilon")
    assert base.guess is not None
    assert ("as the file says (v_pred). It was trained with a noise schedule" in base.guess.sentence) == bool(mark)
    assert all(torch.equal(w.half().float(), base.unet.state_dict()[n]) for n, w in tiny.unet.state_dict().items())


def test_the_names_of_other_tools_are_read(tiny: Sdxl) -> None:
    """Diffusers' script stores the projection as a linear layer's, and CLIP without "text_model."."""
    state = tiny.state()
    state[f"{SECOND}text_projection.weight"] = state.pop(f"{SECOND}text_projection").T
    state = {
        name.replace("embedders.0.transformer.text_model.", "embedders.0.transformer."): w for name, w in state.items()
    }

    encoders = single_file.text_encoders(state)

    for encoder, original in zip(encoders, tiny.text_encoders, strict=True):
        first, second = encoder.state_dict(), original.state_dict()
        assert all(torch.equal(first[key], second[key]) for key in second)
    assert configs.unet(state)["addition_time_embed_dim"] == 8


@pytest.mark.parametrize("where", ["ldm file", "bare ldm file", "diffusers file", "folder", "base's folder"])
def test_a_vae_replaces_the_base_s(tiny: Sdxl, tmp_path: Path, where: str) -> None:
    """It is read from a file in either layout, from a whole base, or from a folder, with the factor of the latents."""
    path = tmp_path / "vae"
    if "folder" in where:
        tiny.vae.save_pretrained(path if where == "folder" else path / "vae")
    else:
        path = tmp_path / "a.safetensors"
        state = tiny.vae.state_dict() if where == "diffusers file" else layout.ldm_vae(tiny.vae)
        if where == "bare ldm file":
            state = {name.removeprefix("first_stage_model."): weight for name, weight in state.items()}
            state["loss.discriminator.weight"] = torch.ones(2)
        save_file({name: weight.contiguous() for name, weight in state.items()}, path)

    vae: Any = single_file.replacement_vae(path, 0.13025)

    assert vae.config.scaling_factor == 0.13025
    first, second = vae.state_dict(), tiny.vae.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in second)


def test_a_vae_for_other_latents_is_refused(tiny: Sdxl, tmp_path: Path) -> None:
    """A folder records the factor of its latents; a file without a VAE is named."""
    tiny.vae.save_pretrained(tmp_path / "vae")
    with pytest.raises(ModelError, match=r"its scaling_factor is 0\.13025, that of the base's latents 0\.18215"):
        single_file.replacement_vae(tmp_path / "vae", 0.18215)
    save_file(layout.ldm_unet(tiny.unet), tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="it contains no VAE"):
        single_file.replacement_vae(tmp_path / "a.safetensors", 0.13025)


def test_a_pruned_base_is_named(tiny: Sdxl) -> None:
    """Blocks of one level that differ, as in SSD-1B, are refused with what was counted."""
    state = {
        name: weight
        for name, weight in tiny.state().items()
        if not name.startswith("model.diffusion_model.output_blocks.1.1.transformer_blocks.1.")
    }
    with pytest.raises(ModelError, match=r"\[2, 1, 2, 1, 1, 1, 0, 0, 0\] in the decoder; .* SSD-1B"):
        configs.unet(state)


def test_a_base_is_inspected(tiny: Sdxl, tmp_path: Path) -> None:
    """Its family, what it predicts, and that its name calls it distilled."""
    save_file(saved_state(tiny), tmp_path / "dream-turbo.safetensors", {"modelspec.title": "Dream"})

    report = inspect.inspect(tmp_path / "dream-turbo.safetensors")

    assert report.is_sound
    assert report.identity.sentence.startswith("This is a Stable Diffusion of SDXL, without a ControlNet, fp32,")
    predicted, distilled = report.notes
    assert predicted.startswith("Prediction type: epsilon, as usual for this family")
    assert distilled.startswith("Its name says that it is distilled (turbo)")


def test_all_networks_of_a_folder_are_inspected(sdxl: Path) -> None:
    """The second text encoder is counted and checked like the first."""
    folders = [path for path in sdxl.iterdir() if (path / "config.json").is_file()]
    assert len(folders) == 4

    report = inspect.inspect(sdxl)

    assert report.identity.tensors == sum(len(safe_load.read_folder(folder)) for folder in folders)
    assert (report.identity.family, report.is_sound) == ("SDXL", True)


@pytest.mark.parametrize("size", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_every_value_of_a_half_precision_file_arrives(
    request: pytest.FixtureRequest, tmp_path: Path, size: str
) -> None:
    """The first values of every weight of the UNet are the file's; full size: 7 GB on the disk, 14 GB of memory."""
    networks: Sdxl = request.getfixturevalue(size)
    block, state = torch.randn(1 << 14).half(), {}
    for number, (name, weight) in enumerate(networks.state().items()):
        shifted = block.roll(number)
        repeats = -(-weight.numel() // len(shifted))
        state[name] = shifted.repeat(repeats)[: weight.numel()].reshape(weight.shape).clone()
    save_file(state, tmp_path / "a.safetensors")
    first = {name: weight.flatten()[:64].float() for name, weight in state.items()}
    del state

    tensors = safe_load.read(tmp_path / "a.safetensors")
    unet = single_file.unet(tensors).state_dict()

    for in_file, name in ldm.names(networks.unet).items():
        assert torch.equal(unet[name].flatten()[:64], first[f"model.diffusion_model.{in_file}"])
    del unet
    encoders = single_file.text_encoders(tensors)
    token = encoders[1].text_model.embeddings.token_embedding.weight.flatten()[:64]
    assert torch.equal(token, first[f"{SECOND}token_embedding.weight"])
    assert single_file.vae(tensors).config.scaling_factor == 0.13025
