"""How the toy networks are trained and measured."""
