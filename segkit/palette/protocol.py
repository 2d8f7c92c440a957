"""The palette of a dataset: a protocol's, or one of the user's that adds classes to it."""

from segkit import problem
from segkit.errors import PaletteError
from segkit.palette import collisions, extend
from segkit.palette.palette import PROTOCOLS, Palette


def load(protocol: str, table: str = "") -> Palette:
    """Return the palette to paint with.

    Args:
        protocol: a key of palette.PROTOCOLS.
        table: a palette table that begins with the protocol's classes; "" is the protocol's own palette.

    Raises:
        PaletteError: the table is none, does not begin with the protocol's classes, or has colours or names that clash.
    """
    base = Palette.load(PROTOCOLS[protocol])
    if not table:
        return base
    own = Palette.load(table)
    if not extends(own, base):
        raise PaletteError(
            f"--palette {table} does not begin with the {len(base)} classes of {base.name}, in their colours. "
            f"Make one that does: segkit check-palette --extend mine.csv --add NAME"
        )
    found = collisions.check(own.swatches, own.name).problems
    if problem.fails(found):
        clash = next(each for each in found if each.severity != "known")
        more = clash.cure
        if clash.rule.endswith("-colours"):
            free = extend.suggest(own, 1)[0]
            more = f"Take {free.hex}, {free.distance:.0f} from all others; see segkit check-palette {table}"
        raise PaletteError(f"--palette {table}: {clash.message} {more}")
    return own


def extends(own: Palette, base: Palette) -> bool:
    """Tell whether a palette begins with all classes of another, in their names and colours."""
    first = [(swatch.name, swatch.rgb) for swatch in own][: len(base)]
    return first == [(swatch.name, swatch.rgb) for swatch in base]
