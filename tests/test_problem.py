"""Problems are flat records, and known quirks never fail a check."""

import json
from typing import get_args

import pytest

from segkit.problem import Problem, Severity, fails


def test_a_problem_becomes_flat_json() -> None:
    """Every attribute is a string."""
    problem = Problem("file-missing", "error", "a.png", "a.png does not exist.")

    assert json.loads(json.dumps(problem.to_json())) == {
        "rule": "file-missing",
        "severity": "error",
        "place": "a.png",
        "message": "a.png does not exist.",
        "cure": "",
    }


@pytest.mark.parametrize("severity", get_args(Severity))
def test_known_problems_do_not_fail(severity: Severity) -> None:
    """Errors and warnings count, also beside known quirks; no problem is no failure."""
    known = Problem("equal-colours", "known", "road", "Equal.")

    assert fails([known, Problem("rule", severity, "a", "Odd.")]) == (severity != "known")
    assert not fails([])
