"""The memory that a step takes on a GPU, computed: what fits is known before a GPU is rented.

Weights, gradients and optimizer state are counted. Activations are the tensors that a backward pass needs, found in a
forward pass of networks that have shapes and no values, for one photo. What CUDA and its libraries take beside them is
assumed: see OVERHEAD.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from segkit.models.device import dtype as device_dtype
from trainer.checkpoints import families
from trainer.settings import TrainSettings
from trainer.step.loss import ControlledUNet
from trainer.step.optimizers import STATE_BYTES

CARDS = (12, 16, 24, 48, 80)
"""Sizes of GPUs' memories in GB."""

OVERHEAD = 1_500_000_000
"""Bytes of CUDA's context, workspaces and fragmentation: an assumption."""

PRECISION = "bf16"
"""Arithmetic that is computed for: what `auto` chooses on the GPUs that are made today."""

_SAVINGS: tuple[dict[str, Any], ...] = (
    {},
    {"gradient_checkpointing": True},
    {"optimizer": "adamw8bit"},
    {"gradient_checkpointing": True, "optimizer": "adamw8bit"},
    {"gradient_checkpointing": True, "optimizer": "adamw8bit", "batch_size": 1},
)
"""Settings that need less memory, those that cost least first."""


@dataclass(frozen=True)
class Need:
    """What a step needs on a GPU.

    Attributes:
        changes: settings that differ from those of the training.
        bytes: in all.
    """

    changes: Mapping[str, Any]
    bytes: int


def needs(model: ControlledUNet, settings: TrainSettings, others: int) -> list[Need]:
    """Return what a step needs as it is set, and with settings that need less.

    Args:
        model: the networks, in any precision and on any device; they are not run.
        settings: of the training.
        others: bytes of other weights that stay on the GPU.
    """
    photo = {recomputed: activations(model, settings.resolution, recomputed) for recomputed in (False, True)}
    totals = []
    for saving in _SAVINGS:
        changes = {name: value for name, value in saving.items() if value != getattr(settings, name)}
        changed = replace(settings, **changes)
        kept = photo[changed.gradient_checkpointing] * (changed.batch_size + _drawn(changed))
        totals.append(Need(changes, weights(model, changed) + others + kept + OVERHEAD))
    return totals


def _drawn(settings: TrainSettings) -> int:
    """Return how many predictions beside those of the photos have a gradient: those of pictures drawn for a reward."""
    if not settings.reward or not settings.reward_steps:
        return 0
    pictures = ceil(settings.reward_share * settings.batch_size)
    predictions = settings.reward_steps + 1  # at most; see rollout.Rollout
    if settings.reward_gradient_steps:
        predictions = min(predictions, settings.reward_gradient_steps)
    return pictures * predictions * (2 if settings.reward_guidance > 1 else 1)


def fitting(totals: Sequence[Need]) -> dict[int, dict[str, Any] | None]:
    """Return for each of the CARDS the first changes with which a training fits: {} for none, None if it never does."""
    return {card: next((dict(need.changes) for need in totals if need.bytes <= card * 1e9), None) for card in CARDS}


def weights(model: ControlledUNet, settings: TrainSettings) -> int:
    """Return the bytes of weights, gradients, optimizer state and running mean on a GPU."""
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    frozen = sum(weight.numel() for weight in model.parameters()) - trained
    itemsize = device_dtype(PRECISION).itemsize
    # fp32 weights and gradients, and autocast's copies
    bytes_a_weight = 4 + 4 + itemsize + STATE_BYTES[settings.optimizer] + (4 if settings.ema else 0)
    return trained * bytes_a_weight + frozen * itemsize


def activations(model: ControlledUNet, resolution: int, recomputed: bool) -> int:
    """Return the bytes that the backward pass of one photo needs.

    Args:
        model: the networks.
        resolution: side of the photo.
        recomputed: with gradient checkpointing; what the largest block needs while it is recomputed counts once.
    """
    with torch.device("meta"):
        controlnet, unet = (type(network).from_config(network.config) for network in (model.controlnet, model.unet))
        empty = ControlledUNet(controlnet, unet, model.only_mid)
        for name, weight in model.named_parameters():
            empty.get_parameter(name).requires_grad_(weight.requires_grad)
        kept = _Kept(empty)
        if recomputed:
            for network in (controlnet, unet):
                network.enable_gradient_checkpointing(kept.recomputed)
        conditioning = families.conditioning(unet.config)
        prompts = torch.empty(1, *conditioning.shape(77))
        hidden_states, more = conditioning.inputs(prompts, torch.empty(1, families.SIZE_VALUES))
        side = resolution >> (len(controlnet.config.conditioning_embedding_out_channels) - 1)
        latents = torch.empty(1, unet.config.in_channels, side, side)
        control = torch.empty(1, 3, resolution, resolution)
        with kept.watching(), _FusedAttention():
            empty(latents, torch.zeros(1), hidden_states, control, **more)
    return kept.bytes * device_dtype(PRECISION).itemsize // 4  # all of it is fp32 here


class _Kept:
    """The tensors that a backward pass needs beside the weights.

    Args:
        model: whose weights do not count.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._weights = {_storage(weight) for weight in model.parameters()}
        self._tensors: list[Tensor] = []  # kept, so that no later storage takes the place of an earlier one
        self._largest = 0

    @property
    def bytes(self) -> int:
        """Size of what is kept at once."""
        return _size(self._tensors, self._weights) + self._largest

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the tensors that operations save."""
        with _saved_in(self._tensors):
            yield

    def recomputed(self, block: Callable[..., Any], *inputs: Any) -> Any:
        """Run a block whose activations are recomputed: its inputs are kept, the rest only for a while."""
        within: list[Tensor] = []
        with _saved_in(within):
            results = block(*inputs)
        if within:
            self._tensors += [tensor for tensor in inputs if isinstance(tensor, Tensor)]
            self._largest = max(self._largest, _size(within, self._weights))
        return results


def _saved_in(tensors: list[Tensor]) -> saved_tensors_hooks:
    """Return a context in which every tensor that an operation saves is added to a list."""

    def save(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    return saved_tensors_hooks(save, lambda tensor: tensor)


def _storage(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address


def _size(tensors: Sequence[Tensor], ignored: set[int]) -> int:
    """Return the bytes of all storages of tensors, each counted once."""
    storages = {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(size for storage, size in storages.items() if storage not in ignored)


class _FusedAttention(TorchFunctionMode):
    """Lets attention keep what fused kernels keep: without a device, PyTorch would keep all products of tokens."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # fmt: skip
        """Replace scaled_dot_product_attention."""
        if function is functional.scaled_dot_product_attention:
            return _Attention.apply(*args[:3])  # type: ignore[no-untyped-call]
        return function(*args, **(kwargs or {}))


class _Attention(torch.autograd.Function):
    """Attention without values: queries, keys, values, results and the logarithms of the sums are kept."""

    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return (B, heads, N, width) without values."""
        result = torch.empty_like(query)
        context.save_for_backward(query, key, value, result, query.new_empty(query.shape[:3]))
        return result
