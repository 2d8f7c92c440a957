"""Photos, shards and exports wherever they are: local folders and URLs behind one value, Location."""

from segkit.remote.locations import Location, is_url, location
from segkit.remote.retry import Patience
from segkit.remote.store import Entry

__all__ = ["Entry", "Location", "Patience", "is_url", "location"]
