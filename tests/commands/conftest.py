"""A small base and a small dataset for the commands that train, generate and export."""

from tests.trainer.conftest import base, rooms, shards

__all__ = ["base", "rooms", "shards"]
