"""Bring datasets of other tools, and of segkit, into a dataset."""
