"""models.layers: products, perceptrons, 1x1 convolutions and attention are torch's own within rounding."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segkit.models import layers

ACTIVATIONS = {"none": lambda values: values, "relu": functional.relu, "gelu": functional.gelu}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    """Run each test as networks run here, with equal inputs."""
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.fixture(params=["oneDNN", "another torch"])
def operator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With the operator of the installed torch, and without one, as with a version that was not compared."""
    layers._operator.cache_clear()
    if request.param == "another torch":
        monkeypatch.setattr(layers, "TORCH", ("9.0", "9.0"))
    assert (layers._operator() is None) == (request.param == "another torch")
    yield
    layers._operator.cache_clear()


def require_near(actual: Tensor, expected: Tensor) -> None:
    """Assert that values, if there are any, agree to 1e-5 of the largest one."""
    assert actual.shape == expected.shape
    assert not expected.numel() or (actual - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [0, 3, 700])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_linear_layer_with_an_activation(activation: layers.Activation, rows: int, bias: bool) -> None:
    """Few rows and many, of a tensor that is not contiguous."""
    layer, inputs = nn.Linear(24, 16, bias=bias), torch.randn(24, rows, 2).permute(2, 1, 0) * 3
    actual = layers.linear(inputs, layer.weight, layer.bias, activation)
    require_near(actual, ACTIVATIONS[activation](layer(inputs)))


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("rows", [0, 5, 1024, 2500])
def test_a_perceptron_in_blocks(rows: int) -> None:
    """No block, one that is not full, a full one and several; hidden values are never there as a whole."""
    first, second, inputs = nn.Linear(8, 32), nn.Linear(32, 8), torch.randn(1, rows, 8)
    actual = layers.perceptron(inputs, first, second, "gelu")
    require_near(actual, second(functional.gelu(first(inputs))))


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["usual", "last"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_a_pointwise_convolution(memory_format: torch.memory_format, bias: bool) -> None:
    """In either format; what it returns has its channels last."""
    convolution = nn.Conv2d(6, 10, 1, bias=bias)
    inputs = torch.randn(2, 6, 20, 30).contiguous(memory_format=memory_format)

    actual = layers.pointwise(inputs, convolution.weight, convolution.bias)

    require_near(actual, convolution(inputs))
    assert actual.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("is_masked", [True, False], ids=["masked", "not masked"])
def test_attention_with_one_mask_for_all_heads(is_masked: bool) -> None:
    """Torch's module is given the mask of each head, and returns the same."""
    attention = nn.MultiheadAttention(32, 4).eval()
    nn.init.normal_(attention.in_proj_bias)
    query, key, value = torch.randn(9, 2, 32), torch.randn(300, 2, 32), torch.randn(300, 2, 32)
    masked = torch.rand(2, 9, 300) < 0.7 if is_masked else None

    actual = layers.attend(attention, (query, key, value), masked)

    of_heads = None if masked is None else masked.repeat_interleave(4, 0)
    require_near(actual, attention(query, key, value, attn_mask=of_heads, need_weights=False)[0])


def test_autocast_decides_the_precision() -> None:
    """Under autocast, products are in bf16 as torch's own are, and so is a perceptron's result."""
    first, second, inputs = nn.Linear(8, 32), nn.Linear(32, 8), torch.randn(1, 1500, 8)

    with torch.autocast("cpu", torch.bfloat16):
        actual = layers.perceptron(inputs, first, second, "relu")
        expected = second(functional.relu(first(inputs)))

    assert actual.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(actual, expected)
