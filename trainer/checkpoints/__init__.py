"""Weights: files identified, checked, loaded and written."""
