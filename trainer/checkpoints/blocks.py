"""How many transformer blocks each level of a network has, counted by the names of weights in a file.

Variants of one family differ in these numbers: SDXL's "small" and "mid" ControlNets, and its pruned UNets.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from segkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["ldm", "diffusers", ""]


def controlnet(names: Collection[str], config: Mapping[str, Any], layout: Layout, prefix: str) -> dict[str, Any]:
    """Return the configuration of a ControlNet of SDXL with the blocks that its file has; that of other families as is.

    Args:
        names: of the file's weights.
        config: configuration of a ControlNet that fits the base.
        layout: naming scheme of the weights.
        prefix: prefix of the weights' names.
    """
    if config.get("addition_embed_type") != "text_time":
        return dict(config)
    levels = range(len(config["block_out_channels"]))
    if layout == "ldm":
        starts = [f"input_blocks.{(config['layers_per_block'] + 1) * level + 1}.1." for level in levels]
    else:
        starts = [f"down_blocks.{level}.attentions.0." for level in levels]
    depths = [_depth(names, prefix + start) for start in starts]
    middle = _depth(names, prefix + ("middle_block.1." if layout == "ldm" else "mid_block.attentions.0."))
    last = middle if depths[-1] is None else depths[-1]
    return {
        **config,
        "down_block_types": ["DownBlock2D" if depth is None else "CrossAttnDownBlock2D" for depth in depths],
        "mid_block_type": "UNetMidBlock2D" if middle is None else "UNetMidBlock2DCrossAttn",
        "transformer_layers_per_block": [*(1 if depth is None else depth for depth in depths[:-1]), last or 0],
    }


def _depth(names: Collection[str], start: str) -> int | None:
    """Return the number of transformer blocks below a name; None if there is no attention at all."""
    rests = [name.removeprefix(start) for name in names if name.startswith(start)]
    numbers = {match[1] for rest in rests if (match := re.match(r"transformer_blocks\.(\d+)\.", rest))}
    return len(numbers) if rests else None


def unet_depths(state: Mapping[str, "Tensor"], prefix: str) -> list[int]:
    """Return the number of transformer blocks of each level of a UNet in ldm's layout; 0 for a level without attention.

    Args:
        state: the file's weights.
        prefix: prefix of the weights' names.

    Raises:
        ModelError: blocks of one level differ, as in pruned versions of SDXL, or the file is incomplete.
    """
    encoder, decoder = (_numbered(state, f"{prefix}{part}.") for part in ("input_blocks", "output_blocks"))
    depths = [encoder[3 * level + 1] for level in range(len(encoder) // 3)]
    middle = _depth(state, f"{prefix}middle_block.1.") or 0
    if not any(depths) or (encoder, decoder, middle) != (*_uniform(depths), max(depths)):
        raise ModelError(
            f"its blocks have {encoder} transformer blocks in the encoder, {middle} in the middle and {decoder} in the "
            "decoder; expected as many in all blocks of a level. The file is incomplete, or a pruned SDXL such as "
            "SSD-1B: use the base that it was made from"
        )
    return depths


def _numbered(names: Collection[str], start: str) -> list[int]:
    """Return the number of transformer blocks of each numbered block, in order."""
    numbers = {int(name.removeprefix(start).split(".")[0]) for name in names if name.startswith(start)}
    return [_depth(names, f"{start}{number}.1.") or 0 for number in sorted(numbers)]


def _uniform(depths: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the transformer blocks of the encoder and of the decoder of a network with these levels."""
    encoder = [number for depth in depths for number in (depth, depth, 0)]  # the last level has no downsampler
    return [0, *encoder[:-1]], [depth for depth in reversed(depths) for _ in range(3)]
