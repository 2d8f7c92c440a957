"""Finetunes the segmentation ControlNet on checked triples."""
