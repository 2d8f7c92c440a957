"""Datasets on disk: triples, their manifest, and the rules that they keep."""

from segkit.dataset.dataset import Dataset
from segkit.dataset.locking import local_folder, locked, refuse_other_folder
from segkit.dataset.rejection import Rejection

__all__ = ["Dataset", "Rejection", "local_folder", "locked", "refuse_other_folder"]
