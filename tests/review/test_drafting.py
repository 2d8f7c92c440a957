"""Prompts drafted on request."""

from segkit.build.tools import Drafter
from segkit.dataset import Dataset
from segkit.dataset.prompts import Style, estimate
from segkit.review.drafting import Drafting
from segkit.review.messages import Prepare
from segkit.review.session import Networks, Session


def test_a_draft_is_a_suggestion(rooms: Dataset) -> None:
    """The captioner is loaded once, with the first draft; the style and the map's classes shape it; nothing changes."""
    loads = []

    def load() -> Drafter:
        loads.append(1)
        return Drafter(lambda photos: [f"a picture of {photo.width} pixels" for photo in photos], estimate)

    session = Session(rooms, networks=Networks(drafting=Drafting(load, Style(template="{caption}, {classes}"))))
    triple = rooms[0]
    assert loads == []

    drafts = [session.draft(Prepare(triple.key))["text"] for _ in range(2)]

    assert drafts[0] == drafts[1]
    assert drafts[0].startswith(f"a picture of {triple.width} pixels, {triple.classes[0].name}")
    assert loads == [1]
    assert rooms.get([triple.key])[0] == triple
