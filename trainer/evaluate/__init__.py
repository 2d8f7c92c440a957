"""How well a ControlNet obeys its maps."""
