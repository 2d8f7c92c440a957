"""The review: triples ranked by doubt, and the local page where a person corrects them."""
