"""Finetune a segmentation ControlNet on checked triples."""
