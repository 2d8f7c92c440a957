"""FID's Inception v3, whose 2,048 pooled features KID and FID compare (Szegedy et al. 2015; Heusel et al. 2017).

It is the network of TensorFlow's graph of 2015-12-05: torchvision's blocks, but averages leave the padding out, and the
last block takes a maximum in place of an average. pytorch-fid and torch-fidelity publish its weights under the names
used here. torch-fidelity's own module is not used: importing it imports torchvision, whose release on PyPI breaks
transformers beside PyTorch's CPU build, and it unpickles weights without restriction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from segkit.errors import ModelError
from trainer.checkpoints import safe_load

FEATURES, SIDE = 2048, 299
"""Features of a picture, and the side in pixels to which it is resized."""

_CLASSES = 1008
"""Outputs of the original's classifier, which is left out here; torchvision's ImageNet weights have 1,000."""


@dataclass(frozen=True)
class _Conv:
    """A convolution's name, number of channels out, and kernel; with a stride of 1 it keeps the size."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


_Branch = Sequence[_Conv | tuple[_Conv, _Conv]]
"""Convolutions one after another; the outputs of a pair are concatenated."""


class _Basic(nn.Module):
    """A convolution, batch normalisation and ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.bn.register_buffer("num_batches_tracked", None)  # training's; some files lack it

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, h, w)."""
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class _Block(nn.Module):
    """Branches side by side, and a pooled one, concatenated.

    Args:
        inputs: channels in.
        branches: the branches, the first channels first.
        pool: "average", "maximum", or "reduce", which is a maximum with a stride of 2.
        pooled: channels of the convolution after pooling; 0: none.
    """

    def __init__(self, inputs: int, branches: Sequence[_Branch], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self._branches = [*branches, [_Conv("branch_pool", pooled)] if pooled else []]
        self._pool = pool
        for branch in self._branches:
            width = inputs
            for step in branch:
                convs = _convs(step)
                for conv in convs:
                    padding = ((conv.kernel[0] - 1) // 2, (conv.kernel[1] - 1) // 2) if conv.stride == 1 else (0, 0)
                    self.add_module(conv.name, _Basic(width, conv.channels, conv.kernel, conv.stride, padding))
                width = sum(conv.channels for conv in convs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, C, h, w)."""
        starts = [x] * (len(self._branches) - 1) + [self._pooled(x)]
        return torch.cat([self._follow(branch, start) for branch, start in zip(self._branches, starts, strict=True)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self._pool == "average":
            return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return functional.max_pool2d(x, 3, 1, 1) if self._pool == "maximum" else functional.max_pool2d(x, 3, 2)

    def _follow(self, branch: _Branch, x: Tensor) -> Tensor:
        for step in branch:
            x = torch.cat([self.get_submodule(conv.name)(x) for conv in _convs(step)], 1)
        return x


def _convs(step: _Conv | tuple[_Conv, _Conv]) -> tuple[_Conv, ...]:
    return step if isinstance(step, tuple) else (step,)


_ROW, _COLUMN, _SQUARE = (1, 7), (7, 1), (3, 3)


def _double(width: int, channels: int, stride: int = 1) -> _Branch:
    return [
        _Conv("branch3x3dbl_1", width), _Conv("branch3x3dbl_2", channels, _SQUARE),
        _Conv("branch3x3dbl_3", channels, _SQUARE, stride),
    ]  # fmt: skip


def _block_a(inputs: int, pooled: int) -> _Block:
    five = [_Conv("branch5x5_1", 48), _Conv("branch5x5_2", 64, (5, 5))]
    return _Block(inputs, [[_Conv("branch1x1", 64)], five, _double(64, 96)], "average", pooled)


def _block_b(inputs: int) -> _Block:
    return _Block(inputs, [[_Conv("branch3x3", 384, _SQUARE, 2)], _double(64, 96, 2)], "reduce")


def _block_c(inputs: int, width: int) -> _Block:
    seven = [_Conv("branch7x7_1", width), _Conv("branch7x7_2", width, _ROW), _Conv("branch7x7_3", 192, _COLUMN)]
    double = [
        _Conv("branch7x7dbl_1", width), _Conv("branch7x7dbl_2", width, _COLUMN), _Conv("branch7x7dbl_3", width, _ROW),
        _Conv("branch7x7dbl_4", width, _COLUMN), _Conv("branch7x7dbl_5", 192, _ROW),
    ]  # fmt: skip
    return _Block(inputs, [[_Conv("branch1x1", 192)], seven, double], "average", 192)


def _block_d(inputs: int) -> _Block:
    three = [_Conv("branch3x3_1", 192), _Conv("branch3x3_2", 320, _SQUARE, 2)]
    seven = [
        _Conv("branch7x7x3_1", 192), _Conv("branch7x7x3_2", 192, _ROW), _Conv("branch7x7x3_3", 192, _COLUMN),
        _Conv("branch7x7x3_4", 192, _SQUARE, 2),
    ]  # fmt: skip
    return _Block(inputs, [three, seven], "reduce")


def _block_e(inputs: int, pool: str) -> _Block:
    def pair(name: str) -> tuple[_Conv, _Conv]:
        return _Conv(f"{name}a", 384, (1, 3)), _Conv(f"{name}b", 384, (3, 1))

    three: _Branch = [_Conv("branch3x3_1", 384), pair("branch3x3_2")]
    double: _Branch = [_Conv("branch3x3dbl_1", 448), _Conv("branch3x3dbl_2", 384, _SQUARE), pair("branch3x3dbl_3")]
    return _Block(inputs, [[_Conv("branch1x1", 320)], three, double], pool, 192)


class Inception(nn.Module):
    """FID's Inception v3 without its classifier; weights come from `load`."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Basic(3, 32, _SQUARE, 2, (0, 0))
        self.Conv2d_2a_3x3 = _Basic(32, 32, _SQUARE, 1, (0, 0))
        self.Conv2d_2b_3x3 = _Basic(32, 64, _SQUARE, 1, (1, 1))
        self.Conv2d_3b_1x1 = _Basic(64, 80, (1, 1), 1, (0, 0))
        self.Conv2d_4a_3x3 = _Basic(80, 192, _SQUARE, 1, (0, 0))
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_a(192, 32), _block_a(256, 64), _block_a(288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = _block_b(288), _block_c(768, 128), _block_c(768, 160)
        self.Mixed_6d, self.Mixed_6e = _block_c(768, 160), _block_c(768, 192)
        self.Mixed_7a, self.Mixed_7b = _block_d(768), _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "maximum")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features of RGB pictures, which are resized as torchmetrics does: bilinear, antialiased.

        Args:
            pixels: (B, 3, H, W) uint8.

        Returns:
            (B, 2048) float32.
        """
        x = functional.interpolate(pixels.float(), (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        for name, layer in self.named_children():
            x = layer((x - 128) / 128 if name == "Conv2d_1a_3x3" else x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = functional.max_pool2d(x, 3, 2)
        return x.mean((2, 3))


def load(path: Path) -> Inception:
    """Load the weights of pytorch-fid or torch-fidelity, .pth or .safetensors; no code of a pickle is executed.

    Raises:
        ModelError: the file is missing, damaged, asks for code, or contains other weights.
    """
    tensors = safe_load.read(path)
    classifier = tensors.get("fc.weight")
    if classifier is not None and classifier.shape[0] != _CLASSES:
        raise _other_weights(path, f"its classifier has {classifier.shape[0]:,} classes, FID's has {_CLASSES:,}")
    with torch.device("meta"):
        network = Inception()
    expected = network.state_dict()
    weights = {name: tensors[name].float() for name in expected if name in tensors}
    if wrong := [name for name, weight in weights.items() if weight.shape != expected[name].shape]:
        raise _other_weights(path, f"{wrong[0]} has the shape {tuple(weights[wrong[0]].shape)}")
    if broken := [name for name, weight in weights.items() if not bool(weight.isfinite().all())]:
        raise ModelError(f"{path}: {broken[0]} contains NaN or infinite values. Download it again.")
    if missing := [name for name in expected if name not in weights]:
        raise _other_weights(path, f"{missing[0]} is missing")
    network.load_state_dict(weights, strict=False, assign=True)  # torch adds the buffers that are left out
    return network.requires_grad_(False).eval()


def _other_weights(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path}: not FID's Inception: {reason}. Expected pt_inception-2015-12-05-6726825d.pth of pytorch-fid or "
        "weights-inception-2015-12-05-6726825d.pth of torch-fidelity."
    )
