"""How well a ControlNet obeys its control maps."""
