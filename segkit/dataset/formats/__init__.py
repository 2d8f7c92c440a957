"""Readers for other tools' dataset layouts, one module each."""
