"""The toy world: a renderer with per-pixel ground truth, and small networks of real architectures trained on it."""
