"""Repair of JPEG maps by synthesis: the labels whose compressed picture is the observed map.

Solid areas show most classes, and the colours at borders most labels (segkit.maps.borders). The result is painted and
compressed as the map was. Where that differs from the map, something is wrong: pixels and whole areas are relabelled
such that the stored coefficients are explained (segkit.maps.spectrum), also with classes too thin to have solid areas,
and the comparison is repeated. A class stays if it explains enough. If only the colours of a map are known, what its
file stored is recovered from them (segkit.maps.recover), before and after areas are relabelled.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import (
    areas,
    borders,
    flips,
    pixels,
    proposals,
    recompress,
    recover,
    relabel,
    rivals,
    samples,
    selection,
    solid,
    spectrum,
    trials,
    units,
)
from segkit.maps.areas import Areas
from segkit.maps.borders import Repaired
from segkit.maps.coded import Coded
from segkit.maps.layout import layout
from segkit.maps.pixels import Packed
from segkit.maps.recompress import Compression
from segkit.maps.scene import Floats, Scene
from segkit.maps.spectrum import Spectrum
from segkit.palette.color import RGB

_PLAUSIBLE = 5
"""Side in pixels of the solid square that suggests a class; one of solid.SOLID proves it."""

_SAFER = 7
_COARSE = 40.4
"""Mean step of luma, as at quality 65, above which blends form squares of _PLAUSIBLE; _SAFER then suggests a class."""

_EXPLAINED = 0.5
"""Right labels, compressed with the settings of the file, leave less than this share of the damage unexplained."""

_HOPELESS = 0.85
"""Share above which no search is tried: a map that was scaled before it was saved mostly leaves more."""

_ROUNDS = 12
"""Rounds of the search at most."""

_PROGRESS = 0.99
"""Share of the least excess so far that a round must reach; what exceeds _LOUDEST in a unit does not count."""

_PATIENCE = 2
"""Rounds without progress that end the search."""

_SETTLING = 4
"""Rounds at most in which compressed pictures decide alone."""

_LOUD = 500.0
"""Squared excess of a unit that a missing class may leave."""

_LOUDEST = 5000.0
"""Squared excess of a unit that only a missing class leaves."""

_UNSETTLED = 50.0
"""Squared excess of a unit that may have the wrong class of two nearly equal colours."""

_GROUP = 4
"""Units beside each other, so badly explained, that are no coincidence."""

_FEW = 0.001
"""Share of the units with the excess _LOUD up to which the map is explained."""

_VISIBLE = 8.0
"""Difference of luma that makes a pixel of a badly explained unit doubtful."""

_RARELY = 3
"""Number of areas: if fewer change in a round, compressed pictures are compared too."""

_BAD = 10.0
"""Squared excess above which a unit is badly explained."""

_WRONG = 40.0
"""Squared excess above which the labels of a unit of a JPEG file are searched, unless the map is explained."""

_CORES = 30
"""Pixels inside an unproven class (see Scene.cores) that it takes to keep it."""

_UNCERTAIN = 0.05
"""Share of uncertain units above which a map was changed after it was decoded: nothing is recovered."""

_CORE_SHARE = 0.15
"""Least share of the pixels of such a class; a line of three pixels has a third, one of two has none."""


def repair(packed: Packed, colors: tuple[RGB, ...], coded: Coded | None = None) -> Repaired:
    """Determine which of the given colours each pixel of a JPEG map had.

    If no compression explains the damage (the map was cropped or scaled afterwards), borders.repair decides alone.

    Args:
        packed: (H, W) the damaged map, as from pixels.pack_image.
        colors: the 1 to 255 colours that the map was painted with.
        coded: what the file of the map stores, if it is a JPEG file.
    """
    height, width = packed.shape
    sides = ((0, -height % recompress.MCU), (0, -width % recompress.MCU))
    padded = np.pad(packed, sides, mode="edge") if any(map(any, sides)) else packed
    for known in (coded, None) if coded and (coded.height, coded.width) == packed.shape else (None,):
        scene, doubtful, measured, unexplained = _start(padded, colors, known)
        if scene is None or measured is None or unexplained > _HOPELESS:
            continue
        doubtful = _search(scene, measured, doubtful, packed.shape)
        # Most of the first labels of a map of many small areas may be wrong: then the last ones decide.
        if (
            known is None
            or unexplained < _EXPLAINED
            or _unexplained(scene, known, spectrum.measure(scene)) < _EXPLAINED
        ):
            return Repaired(scene.labels[:height, :width].copy(), doubtful[:height, :width])
    return replace(borders.repair(packed, colors), is_explained=False)


def _unexplained(scene: Scene, coded: Coded, measured: Spectrum) -> float:
    """Return the share of the damage that the labels leave; see `samples.unexplained`."""
    return samples.unexplained(scene, coded, measured.rows, measured.columns, measured.luma_residual)


def _start(
    packed: Packed, colors: tuple[RGB, ...], coded: Coded | None
) -> tuple[Scene | None, NDArray[np.bool_], Spectrum | None, float]:
    """Return the first labels, where they are doubtful, (H, W), their spectrum, and the share of the damage they leave.

    No scene and no spectrum if no compression fits the colours; the share is 0 unless the file is known.
    """
    table = np.array(colors, np.uint8)
    seeded, (plausible, safer, proven) = solid.areas(packed, colors, (_PLAUSIBLE, _SAFER, solid.SOLID))
    start = borders.guess(packed, colors, solid.kept(seeded, plausible))

    def scene(start: Repaired, compression: Compression, coded: Coded | None) -> tuple[Scene, NDArray[np.bool_]]:
        if layout(compression).luma_steps.mean() > _COARSE and (plausible & ~safer).any():
            start = borders.guess(packed, colors, solid.kept(seeded, safer))
        board = np.pad(start.indices, 1, mode="edge")
        observed = np.zeros((1, 1, 3), np.uint8) if coded else pixels.unpack(packed)  # stored samples suffice
        return Scene(observed, board, pixels.translate(seeded, proven), table, compression, coded), start.doubtful

    if coded is not None:
        known, doubtful = scene(start, coded.compression, coded)
        measured = spectrum.measure(known)
        return known, doubtful, measured, _unexplained(known, coded, measured)
    compression = recompress.estimate(packed, pixels.pack(table).take(start.indices))
    if compression is None and (plausible[seeded] != (seeded != solid.NO_LABEL)).any():
        # A map of small regions has few large squares: with all solid areas, false ones too, more of it is right.
        painted = pixels.pack(table).take(borders.guess(packed, colors, seeded).indices)
        compression = recompress.estimate(packed, painted)
    if compression is None:
        return None, start.doubtful, None, 0.0
    decoded, doubtful = scene(start, compression, None)
    return decoded, doubtful, spectrum.measure(decoded), 0.0


def _search(scene: Scene, measured: Spectrum, doubtful: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Relabel until the compressed picture of the labels is nearly the observed map, or nothing improves it.

    Args:
        scene: the map.
        measured: the spectrum of its first labels.
        doubtful: (H, W) where these were doubtful.
        size: height and width of the picture; the map repeats its edges beyond.

    Returns:
        (H, W) True for pixels of dissolved classes, and where the map remains unexplained.
    """
    # Areas are large enough for a few uncertain units to mislead them.
    measured = _recovered(scene, size, 0.0) or measured
    measured = _move_areas(scene, measured)
    if recovered := _recovered(scene, size, _UNCERTAIN):
        measured = _move_areas(scene, recovered)
    is_explained = _is_explained(scene, measured.excess())
    # Stored samples tell nearly equal classes apart by themselves: comparing pictures adds next to nothing.
    if not is_explained or (scene.coded is None and _unsettled(scene, measured).any()):
        measured = _settle(scene, measured)
        is_explained = _is_explained(scene, measured.excess())
    focus = spectrum.badly_explained(scene, measured, _BAD)
    dissolved = _dissolve(scene)
    focus |= spectrum.around(spectrum.units(scene, dissolved))
    flips.move_pixels(scene, spectrum.measure(scene, focus))
    _choose_classes(scene, focus, _LOUD if is_explained else _WRONG)
    dissolved = dissolved | _dissolve(scene)
    measured = spectrum.measure(scene, focus)
    if scene.coded is None and (unsettled := _unsettled(scene, measured)).any():
        trials.polish(scene, spectrum.around(unsettled))
        measured = spectrum.measure(scene, focus)
    return dissolved | _doubtful(scene, measured, doubtful)


def _choose_classes(scene: Scene, focus: NDArray[np.bool_], least: float) -> None:
    """Replace classes that are not needed, and search the units of a JPEG file with more than the least excess."""
    if scene.coded is None:
        rivals.replace(scene)
        return
    selection.select(scene, scene.coded)
    if units.search(scene, scene.coded, focus, least):
        selection.select(scene, scene.coded)


def _doubtful(scene: Scene, measured: Spectrum, first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where the map differs visibly from its labels, and where the first ones were doubtful and still may be."""
    badly = spectrum.badly_explained(scene, measured, _BAD)
    doubtful = first & np.repeat(np.repeat(badly, recompress.MCU, 0), recompress.MCU, 1)
    unexplained = np.abs(measured.luma_residual.reshape(measured.places.shape)) > _VISIBLE
    unexplained &= (measured.excess() > _LOUD)[:, None]
    rows, columns = np.divmod(measured.places[unexplained], scene.stride)
    doubtful[rows - 1, columns - 1] = True
    return doubtful


def _move_areas(scene: Scene, measured: Spectrum) -> Spectrum:
    """Relabel areas as the coefficients demand, round by round; return the last spectrum."""
    flips.move_pixels(scene, measured)
    least, stalled = np.inf, 0
    for _ in range(_ROUNDS):
        # The nearer the labels are to the truth, the better the stored coefficients are known: most units that still
        # seemed badly explained turn out to be explained when they are compared again.
        measured = spectrum.measure(scene, spectrum.badly_explained(scene, measured, _BAD))
        excess = measured.excess()
        left = float(np.minimum(excess, _LOUDEST).sum())
        stalled = 0 if left < _PROGRESS * least else stalled + 1
        least = min(least, left)
        if stalled == _PATIENCE or _is_explained(scene, excess):
            break
        measured = spectrum.measure(scene, spectrum.around(spectrum.badly_explained(scene, measured, _BAD)))
        proposed = proposals.propose(scene, measured)
        moved = _relabel(scene, measured, areas.same_proposal(scene, measured, proposed))
        moved += _relabel(scene, measured, areas.same_label(scene, measured))
        if moved < _RARELY:
            moved += _relabel(scene, measured, areas.same_label(scene, measured), compressing=True)
        if not moved:
            break
    return measured


def _settle(scene: Scene, measured: Spectrum) -> Spectrum:
    """Compare compressed pictures where a difference is visible, until nothing changes; return the last spectrum."""
    every = focus = spectrum.around(spectrum.badly_explained(scene, measured, _BAD))
    for _ in range(_SETTLING):
        measured = spectrum.measure(scene, focus)
        labels = scene.board.ravel()[measured.places]
        if not _relabel(scene, measured, areas.same_residual(scene, measured), compressing=True):
            break
        changed = (scene.board.ravel()[measured.places] != labels).any(1)
        focus = every & spectrum.around(spectrum.around(spectrum.grid(scene, measured, changed)))
    return measured if focus is every else spectrum.measure(scene, every)


def _relabel(scene: Scene, measured: Spectrum, candidates: Areas | None, *, compressing: bool = False) -> int:
    """Give areas other classes, then move pixels; return the number of areas that changed."""
    labels = scene.board.ravel()[measured.places]
    moved = relabel.relabel(scene, measured, candidates, compressing=compressing)
    spectrum.refresh(scene, measured, labels)
    flips.move_pixels(scene, measured)
    return moved


def _recovered(scene: Scene, size: tuple[int, ...], uncertain_share: float) -> Spectrum | None:
    """Compare a map with what its file stored from now on, if that is not known yet; return the spectrum of its labels.

    None if it is known, or cannot be recovered.
    """
    if scene.coded is not None:
        return None
    stored = recover.recover(scene, size[0], size[1], uncertain_share)
    if stored is None:
        return None
    scene.adopt(stored)
    return spectrum.measure(scene)


def _is_explained(scene: Scene, excess: Floats) -> bool:
    """Return whether hardly any unit has an excess that a missing class may leave, and none that it must leave."""
    units = scene.labels.size / recompress.MCU**2
    return bool((excess > _LOUD).sum() <= _FEW * units and excess.max(initial=0) < _LOUDEST)


def _unsettled(scene: Scene, measured: Spectrum) -> NDArray[np.bool_]:
    """Return groups of units, (H / 16, W / 16), that may have the wrong of two nearly equal classes."""
    groups, _ = ndimage.label(spectrum.badly_explained(scene, measured, _UNSETTLED), np.ones((3, 3), bool))
    large = np.bincount(groups.ravel()) >= _GROUP
    large[0] = False
    return np.asarray(large[groups])


def _dissolve(scene: Scene) -> NDArray[np.bool_]:
    """Replace classes of too few cores by the labels around them; return (H, W) True for their pixels."""
    counts = scene.counts()
    refuted = (counts > 0) & (scene.cores() < np.maximum(_CORES, _CORE_SHARE * counts)) & ~scene.established()
    if not refuted.any() or not ((counts > 0) & ~refuted).any():
        return np.zeros(scene.labels.shape, bool)
    refuted = np.resize(refuted, 256)
    dissolved = pixels.translate(scene.labels, refuted)
    places, flat = scene.places(dissolved), scene.board.ravel()
    while len(places):
        label = flat[places]
        for offset in scene.neighbors:
            beside = flat[places + offset]
            label = np.where(refuted[label], beside, label)
        flat[places] = label
        scene.repeat_edges()
        places = places[refuted[label]]
    return dissolved
