"""8-bit checkpoints are decoded exactly, or refused by the name of their format."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segkit.errors import ModelError
from trainer.checkpoints import fp8, safe_load

E4, E5 = torch.float8_e4m3fn, torch.float8_e5m2
BYTES = torch.arange(256, dtype=torch.uint8).reshape(16, 16)


def decoded(path: Path, tensors: dict[str, Tensor]) -> safe_load.Tensors:
    """Write a checkpoint, read and decode it."""
    save_file(tensors, path)
    return fp8.decoded(safe_load.read(path))


@pytest.mark.parametrize("dtype", [E4, E5])
def test_every_value_is_decoded_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    """fp16 represents all 256 values of both formats; other tensors stay as they are."""
    weight = BYTES.view(dtype)

    tensors = decoded(tmp_path / "a.safetensors", {"a.weight": weight, "a.bias": torch.ones(3)})

    assert (tensors["a.weight"].dtype, tensors["a.bias"].dtype) == (torch.float16, torch.float32)
    torch.testing.assert_close(tensors["a.weight"].float(), weight.float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("scale_name", "extra"), [("scale_weight", "scale_input"), ("weight_scale", "input_scale")])
@pytest.mark.parametrize("rows", [False, True])
def test_scales_are_applied(tmp_path: Path, scale_name: str, extra: str, rows: bool) -> None:
    """A weight is multiplied by its scale, one for all or one per row; scales and marks are no weights."""
    weight = torch.randn(4, 8).to(E4)
    scale = torch.tensor([0.5, 2.0, 3.0, 0.1]) if rows else torch.tensor(0.3)
    content = {
        "a.weight": weight, f"a.{scale_name}": scale, f"a.{extra}": torch.tensor(1.0), "b.bias": torch.ones(2).half(),
        "scaled_fp8": torch.zeros(2).to(E4),
    }  # fmt: skip

    tensors = decoded(tmp_path / "a.safetensors", content)

    assert set(tensors) == {"a.weight", "b.bias"}
    assert torch.equal(tensors["a.weight"], weight.float() * (scale[:, None] if rows else scale))
    with pytest.raises(KeyError):
        tensors["scaled_fp8"]


def mark(name: str) -> Tensor:
    """Return ComfyUI's mark of a quantised weight."""
    return torch.tensor(list(json.dumps({"format": name}).encode()), dtype=torch.uint8)


def test_a_declared_format_is_read(tmp_path: Path) -> None:
    """ComfyUI's mark with a known format is accepted and dropped."""
    weight = torch.ones(4, 8).to(E4)
    content = {"a.weight": weight, "a.weight_scale": torch.tensor(2.0), "a.comfy_quant": mark("float8_e4m3fn")}
    tensors = decoded(tmp_path / "a.safetensors", content)
    assert set(tensors) == {"a.weight"}
    assert float(tensors["a.weight"][0, 0]) == 2


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"a.weight_scale_inv": torch.ones(1, 1)}, "quantised as fp8 with scales in a.weight_scale_inv"),
        ({"a.comfy_quant": mark("mxfp8")}, "quantised as mxfp8"),
        ({"a.comfy_quant": torch.ones(3, dtype=torch.uint8)}, "quantised as an unreadable format"),
        ({"scaled_fp8": torch.zeros(2).to(E4)}, "quantised as fp8 without its scale"),
        ({"a.scale_weight": torch.ones(2, 2)}, r"has shape \(2, 2\); expected one scale, or one per row"),
    ],
)
def test_another_format_is_refused_by_name(tmp_path: Path, extra: dict[str, Tensor], message: str) -> None:
    """A scale that would be ignored, or a format that is not known, is refused; the cure is another file."""
    with pytest.raises(ModelError, match=message) as refused:
        dict(decoded(tmp_path / "a.safetensors", {"a.weight": torch.ones(4, 8).to(E4), **extra}))
    assert "Use the fp16 file" in str(refused.value)


def test_other_precisions_are_left_alone(tmp_path: Path) -> None:
    """A checkpoint without 8-bit weights is returned as it is."""
    save_file({"a.weight": torch.ones(2), "a.scale_weight": torch.ones(1)}, tmp_path / "a.safetensors")
    tensors = safe_load.read(tmp_path / "a.safetensors")
    assert fp8.decoded(tensors) is tensors
