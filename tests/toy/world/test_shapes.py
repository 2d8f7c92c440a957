"""Geometry of the toy world: boxes, discs, shadows and rotation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.toy.world.shapes import Face, Part, box, disc, place, quad, shadow, surface

METRES = st.floats(-20, 20)
GREY = (9.0, 9.0, 9.0)
BED = box((-1, 0, -2), (1, 0.5, 2), GREY, Face(quad((0, 0.1, -2), (0.5, 0, 0), (0, 0.2, 0)), GREY, (0, 0, -1)))


def test_a_box_has_six_faces_that_look_outwards() -> None:
    """Each face lies in its plane, away from the centre of the box, and details follow the faces."""
    part = BED

    *faces, detail = part.faces
    assert part.bounds.tolist() == [[-1, 0, -2], [1, 0.5, 2]]
    assert sorted(face.normal or () for face in faces) == sorted(
        [(0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0)]
    )
    centre = part.bounds.mean(0)
    for face in faces:
        assert (((face.points - centre) @ np.array(face.normal)) > 0).all()
    assert detail.normal == (0, 0, -1)


@given(METRES, METRES, st.integers(-8, 8))
def test_placed_parts_keep_their_size(x: float, z: float, quarters: int) -> None:
    """Width and depth are swapped by odd quarter turns, heights stay, and the origin moves to the position."""
    [placed] = place([BED], (x, z), quarters)

    low, high = placed.bounds
    sides = (2, 0.5, 4) if quarters % 2 == 0 else (4, 0.5, 2)
    assert high - low == pytest.approx(sides)
    assert (low + high) / 2 == pytest.approx((x, 0.25, z))


@pytest.mark.parametrize(("quarters", "front"), [(0, (0, 0, -1)), (1, (-1, 0, 0)), (2, (0, 0, 1)), (3, (1, 0, 0))])
def test_quarter_turns_face_viewer_left_away_right(quarters: int, front: tuple[float, float, float]) -> None:
    """The front and its normal turn together, so that visible faces stay visible."""
    [placed] = place([BED], (0, 0), quarters)

    detail = placed.faces[-1]
    assert detail.normal == pytest.approx(front)
    assert detail.points @ np.array(front) == pytest.approx(np.full(4, 2))


def test_a_face_that_is_seen_from_both_sides_stays_so() -> None:
    """Without a normal there is nothing to turn."""
    [placed] = place([Part((Face(quad((0, 0, 0), (1, 0, 0), (0, 1, 0)), GREY),))], (3, 4), 1)

    assert placed.faces[0].normal is None
    assert placed.bounds.tolist() == [[3, 0, 3], [3, 1, 4]]


@given(st.floats(0.1, 9), st.floats(0.1, 9), st.integers(3, 40))
def test_the_corners_of_a_disc_lie_on_its_ellipse(across: float, up: float, sides: int) -> None:
    """Every corner satisfies the equation of the ellipse around the centre."""
    points = disc((1, 2, 3), (across, 0, 0), (0, up, 0), GREY, sides).points

    offsets = points - (1, 2, 3)
    assert len(points) == sides
    assert (offsets[:, 0] / across) ** 2 + (offsets[:, 1] / up) ** 2 == pytest.approx(np.ones(sides))
    assert (offsets[:, 2] == 0).all()


def test_a_shadow_lies_on_the_ground_around_a_thing() -> None:
    """It reaches beyond the corners of the thing and only darkens what it covers."""
    cast = shadow((-1, 4), (1, 6), 0.5)

    low, high = Part((cast,)).bounds
    assert cast.shadow == 0.5
    assert low[1] == high[1] == 0.001
    assert low[0] < -1 < 1 < high[0]
    assert low[2] < 4 < 6 < high[2]


def test_a_surface_is_flat_and_not_ground_unless_asked() -> None:
    """Details are painted after the surface."""
    points, detail = quad((0, 0, 0), (1, 0, 0), (0, 0, 1)), Face(quad((0, 0, 0), (1, 0, 0), (0, 0, 1)), GREY)

    rug, floor = surface("rug", points, GREY, detail), surface("floor", points, GREY, ground=True)

    assert (rug.flat, rug.ground, floor.ground) == (True, False, True)
    assert rug.parts[0].faces[1] is detail
