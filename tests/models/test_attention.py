"""models.attention: the faster attention computes what transformers computes, and gives way where it must."""

from typing import Any

import pytest
import torch

from segkit.models import attention, deformable, outputs
from segkit.toy.learn import networks
from tests.models import families


def attentions(network: Any) -> list[Any]:
    """Return the deformable attentions of a network."""
    return [module for module in network.modules() if type(module).__name__ in attention.CLASSES]


def tiny(family: str) -> Any:
    """Return a network with random weights, whose positions lie far apart and often outside of the feature maps."""
    torch.manual_seed(1)
    network = (networks.oneformer(families.TWELVE) if family == "oneformer" else families.build(family))[0]
    for module in attentions(network):
        torch.nn.init.normal_(module.sampling_offsets.weight, std=0.3)
        torch.nn.init.normal_(module.sampling_offsets.bias, std=4)
        torch.nn.init.normal_(module.attention_weights.weight, std=0.5)
    return network.eval().requires_grad_(False)


def inputs(network: Any) -> dict[str, Any]:
    """Return a network's inputs for two pictures."""
    torch.manual_seed(2)
    task = {"task_inputs": torch.ones(2, 77)} if network.config.model_type == "oneformer" else {}
    return {"pixel_values": torch.randn(2, 3, 96, 128), **task}


@pytest.fixture(scope="module", params=["oneformer", "mask2former"])
def calls(request: pytest.FixtureRequest) -> list[tuple[Any, dict[str, Any]]]:
    """Each deformable attention of a network, with the arguments that the network passes to it."""
    network, recorded = tiny(request.param), []
    for module in attentions(network):
        module.register_forward_pre_hook(lambda module, _, kwargs: recorded.append((module, kwargs)), with_kwargs=True)
    with torch.no_grad():
        network(**inputs(network))
    return recorded


def test_deformable_attention_is_transformers_own_within_rounding(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    """In batches, with positions outside of the maps and with padding, values agree to 1e-5 of the largest one."""
    assert calls
    for module, arguments in calls:
        arguments["attention_mask"][:, 3:9] = True

        with torch.inference_mode():
            (expected, _), (actual, _) = module.forward(**arguments), attention._forward(module, **arguments)

        assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


def test_small_chunks_change_nothing(calls: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries that are computed in chunks give the bits that they give together."""
    module, arguments = calls[0]
    with torch.inference_mode():
        whole, _ = attention._forward(module, **arguments)
        monkeypatch.setattr(deformable, "_CHUNK", 50)
        chunks, _ = attention._forward(module, **arguments)

    assert torch.equal(chunks, whole)


def test_nan_stays_nan(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    """NaN becomes no index of a pixel, but NaN, which the segmenter reports."""
    module, arguments = calls[0]
    states = arguments["hidden_states"].clone()
    states[0, 0] = torch.nan

    with torch.inference_mode():
        values, _ = attention._forward(module, **arguments | {"hidden_states": states})

    assert values[0, 0].isnan().all()
    assert values[1].isfinite().all()


def test_gradients_pass_through_transformers_own_method(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    """Where gradients are recorded, the result is that of transformers bit for bit, and has a gradient."""
    module, arguments = calls[0]
    states = arguments["hidden_states"].clone().requires_grad_()
    arguments = {name: value.clone() if torch.is_tensor(value) else value for name, value in arguments.items()}
    arguments |= {"hidden_states": states, "encoder_hidden_states": states}

    values, _ = attention._forward(module, **arguments)

    assert torch.equal(values, type(module).forward(module, **arguments)[0])
    assert torch.autograd.grad(values.sum(), states)[0].abs().sum() > 0


@pytest.mark.parametrize("family", ["oneformer", "mask2former"])
def test_a_network_gives_the_same_outputs(family: str) -> None:
    """With the installed transformers, all deformable attention and all masks but the last are computed the new way."""
    network = tiny(family)
    with torch.inference_mode():
        expected = network(**inputs(network))
        assert attention.accelerate(network)
        (decoder,) = (module for module in network.modules() if type(module).__name__ in attention.METHODS)
        owner, method = attention.METHODS[type(decoder).__name__]
        masks = vars(decoder.get_submodule(owner))[method]
        predict = masks._predict
        sizes = []

        def record(states: torch.Tensor, features: torch.Tensor, attention_mask_target_size: tuple[int, int]) -> Any:
            sizes.append(features.shape[-2:] == attention_mask_target_size)
            return predict(states, features, attention_mask_target_size=attention_mask_target_size)

        masks._predict = record
        actual = network(**inputs(network))

    assert all("forward" in vars(module) for module in attentions(network))
    assert sizes == [True] * len(decoder.layers) + [False]
    assert not masks._scaled
    for name in ("class_queries_logits", "masks_queries_logits"):
        assert actual[name].shape == expected[name].shape
        assert torch.allclose(actual[name], expected[name], rtol=1e-3, atol=1e-3 * float(expected[name].abs().max()))
        assert not torch.equal(actual[name], expected[name])
    maps = [outputs.query_scores(predictions).argmax(1) for predictions in (actual, expected)]
    assert torch.equal(*maps)


@pytest.mark.parametrize(("first", "switch"), [("5.99", ""), ("5.20", "1")], ids=["version", "switch"])
def test_other_versions_and_the_switch_leave_networks_as_they_are(
    monkeypatch: pytest.MonkeyPatch, first: str, switch: str
) -> None:
    """A version of transformers that was not compared, or the environment variable, keeps transformers' own code."""
    monkeypatch.setattr(attention, "VERSIONS", (first, attention.VERSIONS[1]))
    monkeypatch.setenv(attention.SWITCH, switch)
    network = tiny("mask2former")

    assert not attention.accelerate(network)
    assert not any("forward" in vars(module) for module in network.modules())


def test_networks_without_deformable_attention_stay_as_they_are() -> None:
    """A SegFormer is not changed."""
    network, _ = families.build("segformer")

    assert not attention.accelerate(network)
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("family", ["oneformer", "mask2former"])
def test_gradients_pass_through_transformers_own_network(family: str) -> None:
    """Where gradients are recorded, they are those of transformers' own layers, with one mask for all heads too."""
    network = tiny(family)
    arguments = inputs(network)
    pixels = arguments["pixel_values"].requires_grad_()
    expected = torch.autograd.grad(network(**arguments).masks_queries_logits.sum(), pixels)[0]

    assert attention.accelerate(network)
    actual = torch.autograd.grad(network(**arguments).masks_queries_logits.sum(), pixels)[0]

    assert expected.abs().sum() > 0
    assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("family", ["oneformer", "mask2former"])
def test_position_embeddings_are_the_same_bits(family: str) -> None:
    """What is computed for one column and one row is what transformers computes for all pixels."""
    network = tiny(family)
    embeddings = [module for module in network.modules() if type(module).__name__.endswith("SinePositionEmbedding")]
    assert embeddings

    for embedding in embeddings:
        shape = torch.Size((2, 2 * embedding.num_position_features, 7, 11))
        actual = attention._positions(embedding, shape, "cpu", torch.float32)
        assert torch.equal(actual, embedding(shape, "cpu", torch.float32))


def test_the_parts_that_take_the_time_are_replaced() -> None:
    """With the installed transformers, each of their classes is found: all but normalisation and two convolutions."""
    network = tiny("oneformer")
    assert attention.accelerate(network)

    replaced = {type(module).__name__ for module in network.modules() if "forward" in vars(module)}

    assert replaced == {
        "Conv2d", "Linear", "MultiheadAttention", "OneFormerPixelDecoderEncoderLayer",
        "OneFormerPixelDecoderEncoderMultiscaleDeformableAttention", "OneFormerSinePositionEmbedding", "SwinMLP",
    }  # fmt: skip
