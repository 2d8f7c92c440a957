"""Training and evaluation of the toy networks."""
