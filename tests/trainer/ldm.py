"""A reference ControlNet for the ldm layout, computed from a dict of weights.

It is written from the published architecture and shares no code with diffusers or segkit.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


class Ldm:
    """A ControlNet that looks up its weights by ldm's names.

    Args:
        weights: weights by name, without prefix.
        heads: attention heads of each level.
        groups: groups of group normalisation.
    """

    def __init__(self, weights: Mapping[str, Tensor], heads: int, groups: int) -> None:
        self.weights, self.heads, self.groups = weights, heads, groups

    def __call__(self, latents: Tensor, timesteps: Tensor, hidden_states: Tensor, hint: Tensor) -> list[Tensor]:
        """Return the residuals of the input blocks in order, then that of the middle block."""
        channels = self.weights["time_embed.0.weight"].shape[1]
        frequencies = torch.exp(-math.log(10000) * torch.arange(channels // 2) / (channels // 2))
        angles = timesteps[:, None].float() * frequencies
        embedding = torch.cat([angles.cos(), angles.sin()], -1)
        embedding = self.linear("time_embed.2", functional.silu(self.linear("time_embed.0", embedding)))
        for index in range(0, 15, 2):
            hint = self.conv(f"input_hint_block.{index}", hint, 2 if index in (4, 8, 12) else 1)
            hint = hint if index == 14 else functional.silu(hint)
        x = self.conv("input_blocks.0.0", latents) + hint
        outputs = [self.conv("zero_convs.0.0", x)]
        index = 1
        while f"zero_convs.{index}.0.weight" in self.weights:
            x = self.block(f"input_blocks.{index}", x, embedding, hidden_states)
            outputs.append(self.conv(f"zero_convs.{index}.0", x))
            index += 1
        x = self.resnet("middle_block.0", x, embedding)
        x = self.attention("middle_block.1", x, hidden_states)
        x = self.resnet("middle_block.2", x, embedding)
        return [*outputs, self.conv("middle_block_out.0", x)]

    def block(self, name: str, x: Tensor, embedding: Tensor, hidden_states: Tensor) -> Tensor:
        """An input block: a residual block with attention where the level has it, or a downsampler."""
        if f"{name}.0.op.weight" in self.weights:
            return self.conv(f"{name}.0.op", x, 2)
        x = self.resnet(f"{name}.0", x, embedding)
        return self.attention(f"{name}.1", x, hidden_states) if f"{name}.1.norm.weight" in self.weights else x

    def linear(self, name: str, x: Tensor) -> Tensor:
        """A linear layer, with or without bias."""
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """A convolution with same padding."""
        weight = self.weights[f"{name}.weight"]
        return functional.conv2d(x, weight, self.weights[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor, epsilon: float) -> Tensor:
        """Group normalisation."""
        return functional.group_norm(
            x, self.groups, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], epsilon
        )

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """Layer normalisation over the channels."""
        return functional.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def resnet(self, name: str, x: Tensor, embedding: Tensor) -> Tensor:
        """A residual block with timestep embedding."""
        y = self.conv(f"{name}.in_layers.2", functional.silu(self.norm(f"{name}.in_layers.0", x, 1e-5)))
        y = y + self.linear(f"{name}.emb_layers.1", functional.silu(embedding))[..., None, None]
        y = self.conv(f"{name}.out_layers.3", functional.silu(self.norm(f"{name}.out_layers.0", y, 1e-5)))
        return y + (self.conv(f"{name}.skip_connection", x) if f"{name}.skip_connection.weight" in self.weights else x)

    def attention(self, name: str, x: Tensor, hidden_states: Tensor) -> Tensor:
        """A transformer block: self-attention, cross-attention to the prompt and a GEGLU feed-forward layer."""
        (batch, _, height, width), residual = x.shape, x
        x = self.norm(f"{name}.norm", x, 1e-6)
        linear = self.weights[f"{name}.proj_in.weight"].ndim == 2
        x = x if linear else self.conv(f"{name}.proj_in", x)
        x = x.flatten(2).transpose(1, 2)
        x = self.linear(f"{name}.proj_in", x) if linear else x
        inner = f"{name}.transformer_blocks.0"
        normed = self.layer_norm(f"{inner}.norm1", x)
        x = x + self.multi_head(f"{inner}.attn1", normed, normed)
        x = x + self.multi_head(f"{inner}.attn2", self.layer_norm(f"{inner}.norm2", x), hidden_states)
        value, gate = self.linear(f"{inner}.ff.net.0.proj", self.layer_norm(f"{inner}.norm3", x)).chunk(2, -1)
        x = x + self.linear(f"{inner}.ff.net.2", value * functional.gelu(gate))
        x = self.linear(f"{name}.proj_out", x) if linear else x
        x = x.transpose(1, 2).reshape(batch, -1, height, width)
        return residual + (x if linear else self.conv(f"{name}.proj_out", x))

    def multi_head(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        """Multi-head attention."""

        def split(tensor: Tensor) -> Tensor:
            return tensor.reshape(*tensor.shape[:2], self.heads, -1).transpose(1, 2)

        queries, keys, values = (
            split(self.linear(f"{name}.to_{letter}", source))
            for letter, source in zip("qkv", (x, context, context), strict=True)
        )
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
        return self.linear(f"{name}.to_out.0", (scores.softmax(-1) @ values).transpose(1, 2).flatten(2))
