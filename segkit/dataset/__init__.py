"""Datasets on disk: triples, their manifest, and the rules that they keep."""

from segkit.dataset.dataset import Dataset, Rejection
from segkit.dataset.locking import locked, refuse_other_folder

__all__ = ["Dataset", "Rejection", "locked", "refuse_other_folder"]
