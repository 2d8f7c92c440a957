"""Two folders, one of photos and one of control maps, matched by name; captions may lie beside the photos.

The layout of kohya's scripts is such a pair, img/ and cond/.
"""

import re
from pathlib import Path

from segkit.dataset.formats import kohya
from segkit.dataset.formats.items import Collection, File, Item
from segkit.dataset.formats.listing import MAP_WORDS, split_of
from segkit.errors import DatasetError

_MAP_ENDING = re.compile(rf"[-_. ](?:{'|'.join(sorted(MAP_WORDS))})s?$", re.IGNORECASE)


def read(photos: Path, control_maps: Path, layout: str = "pairs") -> Collection:
    """Match two folders by relative path without suffix; a map may have an ending such as _seg or _mask beside it.

    Photos without a map and maps without a photo are items, too, so that nothing is left out silently. A folder such
    as train/ or val/ within the photos names the split. Captions are NAME.txt or NAME.caption beside the photos.

    Args:
        photos: the folder of photos, searched recursively.
        control_maps: the folder of maps.
        layout: recorded name of the layout.

    Raises:
        DatasetError: a folder does not exist, two photos or two maps have one name, or a caption is not UTF-8.
    """
    for folder in (photos, control_maps):
        if not folder.is_dir():
            state = "is a file" if folder.exists() else "does not exist"
            raise DatasetError(f"{folder} {state}. Expected a folder of pictures.")
    by_name, maps = kohya.pictures(photos), _by_photo(kohya.pictures(control_maps), control_maps)
    captions = kohya.captions(photos)
    items, longer = [], 0
    for name, path in by_name.items():
        text, is_longer = kohya.caption(captions.get(name, []))
        longer += is_longer
        map_path = maps.pop(name, None)
        source, split = path.relative_to(photos).as_posix(), _split(path.relative_to(photos))
        items.append(Item(source, File(path), File(map_path) if map_path else None, text, split))
    items += [Item(path.relative_to(control_maps).as_posix(), None, File(path)) for path in maps.values()]
    return Collection(layout, photos, items, tuple(kohya.notes(by_name, longer)))


def _by_photo(maps: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Return maps by the name of their photo, which lacks an ending such as _seg.

    Raises:
        DatasetError: two maps belong to one photo.
    """
    by_photo: dict[str, Path] = {}
    shortened = len({_MAP_ENDING.sub("", name) for name in maps}) == len(maps) and all(map(_MAP_ENDING.search, maps))
    for name, path in maps.items():
        other = by_photo.setdefault(_MAP_ENDING.sub("", name) if shortened else name, path)
        if other is not path:
            raise DatasetError(f"{other} and {path.relative_to(folder)} belong to one photo. Remove one of them.")
    return by_photo


def _split(relative: Path) -> str:
    return next((split for part in relative.parts[:-1] if (split := split_of(part))), "")
