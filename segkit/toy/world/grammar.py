"""The toy world's sentences: what is seen, where it is, in varied words; and which classes a text speaks of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "windowpane": (("window", "windows"),),
    "door": (("door", "doors"),),
    "bed": (("bed", "beds"),),
    "table": (("table", "tables"),),
    "chair": (("chair", "chairs"),),
    "painting": (("painting", "paintings"), ("picture", "pictures")),
    "lamp": (("lamp", "lamps"),),
    "sofa": (("sofa", "sofas"), ("couch", "couches")),
    "cabinet": (("cabinet", "cabinets"),),
    "rug": (("rug", "rugs"), ("carpet", "carpets")),
    "curtain": (("curtain", "curtains"),),
    "person": (("person", "people"),),
    "building": (("building", "buildings"),),
    "tree": (("tree", "trees"),),
    "car": (("car", "cars"),),
    "mountain": (("mountain", "mountains"),),
    "water": (("water", "water"),),
    "grass": (("grass", "grass"),),
    "road": (("road", "roads"),),
    "sidewalk": (("sidewalk", "sidewalks"), ("pavement", "pavements")),
}
"""The words for each class, singular and plural. Classes that are not here go without saying."""

SCENERY = ("mountain", "water", "grass", "sidewalk")
"""Named last, without a place."""

GROUND = (*SCENERY, "road")
"""Not counted as things."""

NAMED = 0.03
"""Share of the pixels from which a thing is named."""

_CLASS_OF = {form: name for name, nouns in NOUNS.items() for noun in nouns for form in noun}
_FURNITURE = ("bed", "sofa", "table", "cabinet")
_NUMBERS = {2: "two", 3: "three"}
_UNCOUNTED = ("mountain", "building")


@dataclass(frozen=True)
class Seen:
    """A thing as the photo shows it.

    Attributes:
        name: its class.
        share: of the picture's pixels, 0 to 1.
        x, y: the middle of its pixels, 0 to 1 from the left and the top.
        left, right: where its pixels begin and end, 0 to 1.
    """

    name: str
    share: float
    x: float
    y: float
    left: float
    right: float


def mentioned(text: str) -> set[str]:
    """Return the classes that a text names."""
    return {_CLASS_OF[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _CLASS_OF}


def describe(seen: Sequence[Seen], random: Generator) -> str:
    """Say what a photo shows: all of its larger things, the largest first.

    Args:
        seen: what it shows, parts of the place itself included; the words hold for just these.
        random: chooses among words that are all true.
    """
    shares: dict[str, float] = {}
    for thing in seen:
        shares[thing.name] = shares.get(thing.name, 0.0) + thing.share
    outdoors = "sky" in shares or "road" in shares
    place = _street(shares) if outdoors else _room(shares)
    things = [each for each in seen if each.name in NOUNS and each.name not in GROUND and each.share >= NAMED]
    phrases = _phrases(sorted(things, key=lambda each: -each.share), random)
    phrases += [
        _noun(name, 2 if name == "mountain" else 1, random, article=name == "sidewalk")
        for name in SCENERY
        if outdoors and shares.get(name, 0) >= 2 * NAMED and name not in mentioned(place)
    ]
    if not phrases:
        return f"{random.choice(('', 'a photo of '))}an empty {place}"
    forms = ("a {place} with {things}", "a photo of a {place} with {things}", "{things} {where} a {place}")
    form = str(random.choice(forms, p=(0.4, 0.3, 0.3)))
    return form.format(place=place, things=_list(phrases, random), where="on" if outdoors else "in")


def _room(shares: dict[str, float]) -> str:
    if "bed" in shares:
        return "bedroom"
    if "sofa" in shares:
        return "living room"
    return "dining room" if {"table", "chair"} <= shares.keys() else "room"


def _street(shares: dict[str, float]) -> str:
    if shares.get("building", 0) >= 0.08:
        return "city street"
    if shares.get("road", 0) < NAMED:
        return "street"
    return "road by the water" if shares.get("water", 0) >= 0.03 else "country road"


def _phrases(things: Sequence[Seen], random: Generator) -> list[str]:
    groups: dict[str, list[Seen]] = {}
    for thing in things:
        groups.setdefault(thing.name, []).append(thing)
    hung = {name: groups[name][0] for name in ("windowpane", "painting") if len(groups.get(name, ())) == 1}
    phrases, said = [], set()
    for name, group in groups.items():
        if name in said:
            continue
        said.add(name)
        phrase = _noun(name, len(group), random)
        above = next((other for other, thing in hung.items() if other not in said and _is_under(group, thing)), None)
        if above and random.random() < 0.7:
            said.add(above)
            phrase += f" under {_noun(above, 1, random)}"
        elif len(group) == 1 and random.random() < 0.5:
            phrase += _where(group[0].x)
        phrases.append(phrase)
    return phrases


def _is_under(group: Sequence[Seen], hung: Seen) -> bool:
    """Tell whether a single piece of furniture stands below something on the wall."""
    thing = group[0]
    middle = thing.left + 0.1 < hung.x < thing.right - 0.1
    return len(group) == 1 and thing.name in _FURNITURE and middle and hung.y + 0.1 < thing.y


def _where(x: float) -> str:
    if x < 0.36:
        return " on the left"
    if x > 0.64:
        return " on the right"
    return " in the middle" if 0.43 < x < 0.57 else ""


def _noun(name: str, number: int, random: Generator, *, article: bool = True) -> str:
    one, many = NOUNS[name][int(random.integers(len(NOUNS[name])))]
    if number > 1:
        return many if name in _UNCOUNTED else f"{_NUMBERS.get(number, 'several')} {many}"
    return f"a {one}" if article else one


def _list(phrases: Sequence[str], random: Generator) -> str:
    """Join phrases by commas and, anywhere, "and": if it stood only before the last, its choice would be a promise."""
    text = phrases[0]
    for phrase in phrases[1:]:
        text += (" and " if random.random() < 1 / 3 else ", ") + phrase
    return text


def mirrored(text: str) -> str:
    """Return the sentence about the mirrored photo."""
    other = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda match: other[match[1]], text)


def vocabulary() -> list[str]:
    """Return every word that a sentence may hold, and the comma."""
    nouns = {form for forms in NOUNS.values() for noun in forms for form in noun}
    others = "a an and by city country dining empty in left living middle of on photo right room street the three two"
    return sorted(nouns | {"bedroom", "several", "under", "with", ",", *others.split()})
