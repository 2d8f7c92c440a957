"""Sentences of the toy world: describes visible things in varied words, and finds the classes that a text mentions."""

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
"""Nouns for each class, singular and plural. Other classes are never mentioned."""

SCENERY = ("mountain", "water", "grass", "sidewalk")
"""Mentioned last, without a position."""

GROUND = (*SCENERY, "road")
"""Classes that do not count as things."""

NAMED = 0.03
"""Share of the pixels from which a thing is mentioned."""

_CLASS_OF = {form: name for name, nouns in NOUNS.items() for noun in nouns for form in noun}
_FURNITURE = ("bed", "sofa", "table", "cabinet")
_NUMBERS = {2: "two", 3: "three"}
_UNCOUNTED = ("mountain", "building")


@dataclass(frozen=True)
class VisibleThing:
    """A thing as it appears in the photo.

    Attributes:
        name: its class.
        share: share of the picture's pixels, 0 to 1.
        x, y: mean position of its pixels, 0 to 1 from the left and the top.
        left, right: leftmost and rightmost pixel, 0 to 1.
    """

    name: str
    share: float
    x: float
    y: float
    left: float
    right: float


def mentioned(text: str) -> set[str]:
    """Return the classes that a text mentions."""
    return {_CLASS_OF[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _CLASS_OF}


def describe(things: Sequence[VisibleThing], random: Generator) -> str:
    """Describe a photo in one true sentence that mentions all larger things, the largest first.

    Args:
        things: all visible things, including those of the setting itself.
        random: chooses among equally true words.
    """
    shares: dict[str, float] = {}
    for thing in things:
        shares[thing.name] = shares.get(thing.name, 0.0) + thing.share
    outdoors = "sky" in shares or "road" in shares
    place = _street(shares) if outdoors else _room(shares)
    large = [thing for thing in things if thing.name in NOUNS and thing.name not in GROUND and thing.share >= NAMED]
    phrases = _phrases(sorted(large, key=lambda thing: -thing.share), random)
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


def _phrases(things: Sequence[VisibleThing], random: Generator) -> list[str]:
    groups: dict[str, list[VisibleThing]] = {}
    for thing in things:
        groups.setdefault(thing.name, []).append(thing)
    hung = {name: groups[name][0] for name in ("windowpane", "painting") if len(groups.get(name, ())) == 1}
    phrases, mentioned_names = [], set()
    for name, group in groups.items():
        if name in mentioned_names:
            continue
        mentioned_names.add(name)
        phrase = _noun(name, len(group), random)
        above = next(
            (other for other, thing in hung.items() if other not in mentioned_names and _is_under(group, thing)), None
        )
        if above and random.random() < 0.7:
            mentioned_names.add(above)
            phrase += f" under {_noun(above, 1, random)}"
        elif len(group) == 1 and random.random() < 0.5:
            phrase += _where(group[0].x)
        phrases.append(phrase)
    return phrases


def _is_under(group: Sequence[VisibleThing], hung: VisibleThing) -> bool:
    """Return whether the group is a single piece of furniture below a thing on the wall."""
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
    singular, plural = NOUNS[name][int(random.integers(len(NOUNS[name])))]
    if number > 1:
        return plural if name in _UNCOUNTED else f"{_NUMBERS.get(number, 'several')} {plural}"
    return f"a {singular}" if article else singular


def _list(phrases: Sequence[str], random: Generator) -> str:
    """Join phrases with commas or "and" at random: an "and" before the last phrase alone would announce the end."""
    text = phrases[0]
    for phrase in phrases[1:]:
        text += (" and " if random.random() < 1 / 3 else ", ") + phrase
    return text


def mirrored(text: str) -> str:
    """Return the sentence that describes the mirrored photo."""
    opposite = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda match: opposite[match[1]], text)


def vocabulary() -> list[str]:
    """Return every word that a sentence may contain, and the comma."""
    nouns = {form for forms in NOUNS.values() for noun in forms for form in noun}
    others = "a an and by city country dining empty in left living middle of on photo right room street the three two"
    return sorted(nouns | {"bedroom", "several", "under", "with", ",", *others.split()})
