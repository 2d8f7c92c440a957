"""The palette of a dataset: that of its protocol, or a user's palette that extends it."""

from segkit import problem
from segkit.errors import PaletteError
from segkit.palette import collisions, extend
from segkit.palette.palette import PROTOCOLS, Palette
from segkit.words import quote


def load(protocol: str, source: str = "") -> Palette:
    """Load the palette that control maps are painted with.

    Args:
        protocol: a key of PROTOCOLS.
        source: path of a palette table that begins with the classes of the protocol; "" selects the protocol's own
            palette.

    Raises:
        PaletteError: the table does not load, does not begin with the classes of the protocol, or has colliding
            colours or names.
    """
    base = Palette.load(PROTOCOLS[protocol])
    if not source:
        return base
    palette = Palette.load(source)
    if not extends(palette, base):
        entries = [(swatch.name, swatch.rgb) for swatch in palette]
        expected = next(known for known in base if entries[known.index : known.index + 1] != [(known.name, known.rgb)])
        raise PaletteError(
            f"The palette {source} does not begin with the {len(base)} classes of {base.name} in their colours; the "
            f"first that differs should be {expected.name} ({expected.index}), {expected.hex}. "
            f"Create one that does: segkit check-palette --extend mine.csv --add NAME"
        )
    problems = collisions.check(palette.swatches, palette.name).problems
    if problem.fails(problems):
        clash = next(finding for finding in problems if finding.severity != "known")
        cure = clash.cure
        if clash.rule.endswith("-colours"):
            free = extend.suggest(palette, 1)[0]
            cure = f"Use {free.hex}, {free.distance:.0f} from all others; see segkit check-palette {quote(source)}"
        raise PaletteError(f"The palette {source}: {clash.message} {cure}")
    return palette


def extends(palette: Palette, base: Palette) -> bool:
    """Report whether a palette begins with all classes of another, in the same names and colours."""
    first = [(swatch.name, swatch.rgb) for swatch in palette][: len(base)]
    return first == [(swatch.name, swatch.rgb) for swatch in base]
