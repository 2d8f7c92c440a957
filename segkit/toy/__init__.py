"""The toy world: a renderer that knows the truth of every pixel, and small real networks trained on it, in weights/."""
