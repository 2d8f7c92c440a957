"""Networks that settings name by default."""

FRESH = "fresh"
"""Name of a ControlNet that copies the base's encoder."""
SEG = "lllyasviel/control_v11p_sd15_seg"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
JUDGE = "mask2former-large"
"""Not the default segmenter of build-dataset, which drew most datasets' maps."""
UNION_MODE = 5
"""Mode of segmentation maps in released union ControlNets, those with 6 kinds of control images as those with 8."""
