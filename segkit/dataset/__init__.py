"""Datasets on disk: triples, their manifest, and the rules that they keep."""

from segkit.dataset.dataset import Dataset
from segkit.dataset.locking import locked, refuse_other_folder
from segkit.dataset.rejection import Rejection

__all__ = ["Dataset", "Rejection", "locked", "refuse_other_folder"]
