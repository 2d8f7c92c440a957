"""Pictures drawn from control maps."""
