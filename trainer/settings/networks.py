"""Networks that settings name, most of them by default."""

from segkit.errors import UsageError

SEG = "lllyasviel/control_v11p_sd15_seg"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
FRESH = "fresh"
"""Name of a ControlNet that copies the base's encoder."""
JUDGE = "mask2former-large"
"""Not the default segmenter of build-dataset, which drew most datasets' maps."""
UNION_MODE = 5
"""Mode of segmentation maps in released union ControlNets, those with 6 kinds of control images as those with 8."""


def require_mode_of_union(controlnet: str, mode: int | None) -> None:
    """Refuse a mode that was set for a fresh ControlNet, which has none.

    Args:
        controlnet: the name that was set.
        mode: see union.require_mode; None if none was set.

    Raises:
        UsageError: the ControlNet is a fresh one.
    """
    if controlnet == FRESH and mode is not None:
        raise UsageError(
            f"controlnet={FRESH}: not a union ControlNet, so it has no mode. Leave out controlnet_mode={mode}."
        )
