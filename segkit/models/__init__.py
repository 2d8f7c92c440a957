"""The networks: the only part of segkit that imports torch and transformers, and only when one is loaded."""
