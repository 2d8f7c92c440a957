"""Captions of stored photos: by a captioner in this process, or in workers on a Ray cluster, which all say the same."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from segkit import threads
from segkit.build.engines.worker import Member, Request, require_same
from segkit.build.settings import DraftingSettings
from segkit.build.tools import Drafter
from segkit.dataset.triple import Triple

if TYPE_CHECKING:
    from segkit.build.engines.crew import Crew

Load = Callable[[DraftingSettings], Drafter]
"""Loads a captioner."""

Captioned = tuple[list[Triple], list[str | None]]
"""Triples, with the caption of each; None where the photo cannot be opened."""


class Captioning(Protocol):
    """Captions the photos of a dataset."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know about the work, as sentences."""

    def drafter(self) -> Drafter:
        """Load the captioner, and return what it is called, and its counter of tokens."""

    def caption(self, units: Iterable[list[Triple]]) -> Iterator[Captioned]:
        """Yield the units in order, with their captions; what is captioned together decides about the last bits."""


class Inline:
    """Captions in this process; a Captioning."""

    notes: Sequence[str] = ()

    def __init__(self, settings: DraftingSettings, load: Load) -> None:
        self._settings, self._load = settings, load

    @cached_property
    def _drafter(self) -> Drafter:
        return self._load(self._settings)

    def drafter(self) -> Drafter:
        """Load the captioner, and return it."""
        return self._drafter

    def caption(self, units: Iterable[list[Triple]]) -> Iterator[Captioned]:
        """Caption each unit when it is asked for."""
        for unit in units:
            photos = [_opened((triple.folder / triple.file_name).read_bytes) for triple in unit]
            yield unit, captions(self._drafter, photos)


def _opened(read: Callable[[], bytes]) -> Image.Image | None:
    """Return a stored photo, RGB; None if it cannot be opened."""
    try:
        with Image.open(BytesIO(read()), formats=("JPEG", "PNG")) as image:
            return image.convert("RGB")
    except Exception:  # on damaged files Pillow raises anything, not only OSError
        return None


def captions(drafter: Drafter, photos: Sequence[Image.Image | None]) -> list[str | None]:
    """Return the captions of photos; None for those that could not be opened."""
    words = iter(drafter([photo for photo in photos if photo]))
    return [next(words) if photo else None for photo in photos]


class Captioner(Member):
    """Captions photos in a process of its own. See Member."""

    @cached_property
    def _drafter(self) -> Drafter:
        drafter: Drafter = self._load(self._settings)
        return drafter

    def identify(self) -> Drafter:
        """Load the captioner, and return what it is called, and its counter of tokens."""
        with self._working:
            return replace(self._drafter, caption=_elsewhere)

    def caption(self, requests: Sequence[Request], expected: dict[str, dict[str, str]]) -> list[str | None]:
        """Caption the photos of a unit; None for those that cannot be opened.

        Raises:
            EngineError: the captioner differs from those of the other workers.
        """
        with threads.pool() as pool:
            photos = [*pool.map(lambda request: _opened(lambda: request.read(inf)), requests)]
        with self._working:
            require_same(self._drafter.identities, expected)
            return captions(self._drafter, photos)


def _elsewhere(photos: Sequence[Image.Image]) -> list[str]:
    """Stand for a captioner that is in another process."""
    raise NotImplementedError(f"{len(photos)} photos for a captioner of another process")


class Distributed:
    """Captions in the workers of a cluster; a Captioning.

    Args:
        crew: the workers, of the class Captioner.
    """

    def __init__(self, crew: "Crew") -> None:
        self._crew = crew

    @property
    def notes(self) -> Sequence[str]:
        """How many workers there were, and who read the photos."""
        return self._crew.notes

    @cached_property
    def _drafter(self) -> Drafter:
        drafter: Drafter = self._crew.pool.call("identify")
        return drafter

    def drafter(self) -> Drafter:
        """Have a worker load the captioner, and return what it is called; it cannot caption here."""
        return self._drafter

    def caption(self, units: Iterable[list[Triple]]) -> Iterator[Captioned]:
        """Have workers caption the units."""
        from segkit.build.engines.pool import Kind

        expected = self._crew.cluster.ray.put(self._drafter.identities)
        kind: Kind[Request, str | None] = Kind(
            send=lambda worker, requests: worker.caption.remote(requests, expected),
            fill=self._crew.filled,
            crashed=lambda request: None,
            is_unseen=lambda caption: caption is None,
        )
        return self._crew.pool.run(((unit, [*map(_request, unit)]) for unit in units), kind)


def _request(triple: Triple) -> Request:
    return Request((triple.folder / triple.file_name).absolute(), triple.file_name)


@contextmanager
def _distributed(settings: DraftingSettings, load: Load, triples: Sequence[Triple]) -> Iterator[Captioning]:
    from segkit.build.engines.crew import gathered

    with gathered(Captioner, settings, load, [_request(triple).place for triple in triples]) as crew:
        yield Distributed(crew)


def opened(settings: DraftingSettings, load: Load, triples: Sequence[Triple]) -> AbstractContextManager[Captioning]:
    """Return what captions, as the settings say, as a context.

    Args:
        settings: of the captioner and the engine.
        load: loads the captioner.
        triples: some of those whose photos are to be captioned, for which workers look.
    """
    if settings.engine == "ray":
        return _distributed(settings, load, triples)
    return nullcontext(Inline(settings, load))
