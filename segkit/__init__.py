"""segkit: a folder of photos becomes a ControlNet that obeys segmentation maps."""

__version__ = "0.1.0"
