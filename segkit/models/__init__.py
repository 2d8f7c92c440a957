"""Networks: the only part of segkit, besides toy, that imports torch and transformers, and only when one is loaded."""
