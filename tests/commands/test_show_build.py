"""Results of build-dataset and caption as tables, lines and JSON."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from segkit.build.captions import Drafted
from segkit.build.dry_run import Plan
from segkit.build.engines import Capacity
from segkit.build.outcome import Outcome
from segkit.commands import show_build
from tests.commands.test_show import SUMMARY, Capture, cells


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print tables without wrapping."""
    monkeypatch.setenv("COLUMNS", "200")


def test_a_build_is_summarised(capsys: Capture) -> None:
    """Counts add up to the photos found, estimated tokens say so, and the next command is the last line."""
    outcome = Outcome(6, 2, 1, Counter({"too-small": 1}), Counter({"limit": 2}), 4.0, changed=True, examined=True)

    show_build.build_outcome(outcome, SUMMARY, Path("rooms"), Path("page.html"), False)

    text = capsys.readouterr().out
    rows = cells(text)
    assert rows[:2] == [["new triples", "2"], ["already in the dataset", "1"]]
    assert sum(int(row[1]) for row in rows[:4]) == outcome.found
    assert rows[2][0].startswith("rejected: too-small (")
    assert rows[3][0] == "skipped: beyond --limit"
    assert ["sky", "25.0%"] in rows
    assert "estimated: no CLIP tokenizer found" in text
    assert "rooms: 3 triples in 4.0 s, 0.50 photos/s." in text
    assert "--retry-rejected" in text
    assert text.splitlines()[-1] == "Next: segkit check rooms"


def test_paths_of_results_can_be_copied_into_a_shell(capsys: Capture) -> None:
    """A path with a space is quoted after its label."""
    folder = Path("my rooms")
    outcome = Outcome(2, 1, rejected=Counter({"too-small": 1}), changed=True, examined=True)

    show_build.build_outcome(outcome, SUMMARY, folder, folder / "page.html", False)

    lines = capsys.readouterr().out.splitlines()
    assert "Report: 'my rooms/page.html'" in lines
    assert "Rejected photos: 'my rooms/.segkit/rejected.jsonl' (--retry-rejected tries them again)" in lines


def test_a_build_in_json_has_outcome_and_summary(capsys: Capture) -> None:
    """One object with both, and the paths."""
    show_build.build_outcome(Outcome(3, 3), SUMMARY, Path("rooms"), Path("page.html"), True)

    record = json.loads(capsys.readouterr().out)
    assert (record["dataset"], record["made"], record["report"]) == ("rooms", 3, "page.html")
    assert record["summary"] == SUMMARY.to_json()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90.0, "about 90 seconds"), (600.0, "about 10.0 minutes"), (None, "Time: unknown, because the networks")],
)
def test_a_plan_estimates_the_time(capsys: Capture, seconds: float | None, text: str) -> None:
    """In seconds or minutes; without networks the reason is given."""
    show_build.build_plan(
        Plan(3, 3, 0, {}, {}, {"64 x 64": 3}, seconds, 1.5, "" if seconds else "No weights.", 3), [], False
    )

    out = capsys.readouterr().out
    assert "3 photos found; nothing was written" in " ".join(out.split())
    assert text in out
    assert ("No weights." if seconds is None else "1.5 MB of disk space") in out


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((Drafted(2), 0, 0, []), "rooms: 2 prompts drafted.\n"),
        ((Drafted(0, 3, 1), 0, 0, []), "without a captioner: 3. Drafts of an earlier version, whose captions were not"),
        (
            (Drafted(), 0, 0, []),
            "rooms: 0 prompts drafted. Every triple already has one; --redo-drafts redrafts them.\n",
        ),
        ((None, 1, 0, []), "rooms: 1 hand-written prompt set.\n"),
        (
            (None, 1, 0, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]),
            "Photos without a row in the table, whose prompts stay: 4 (a.jpg, b.jpg, c.jpg and 1 more).\n",
        ),
        ((None, 1, 3, []), "Hand-written prompts over CLIP's 77 tokens: 3. See: segkit check rooms\n"),
    ],
)
def test_prompts_are_counted(capsys: Capture, counts: tuple[Drafted | None, int, int, list[str]], text: str) -> None:
    """Drafted and hand-written prompts are told apart, and long ones reported."""
    show_build.captions(*counts, Path("rooms"), False)

    assert text in capsys.readouterr().out


def test_no_drafts_are_not_counted_after_restyled_ones(capsys: Capture) -> None:
    """A new style needs no captioner, so the number of new drafts would be 0."""
    show_build.captions(Drafted(0, 3, 0), 0, 0, [], Path("rooms"), False)

    assert capsys.readouterr().out == "Prompts composed again in the new style, without a captioner: 3.\n"


def test_an_unchanged_build_takes_three_lines(capsys: Capture) -> None:
    """What was found, the report and the next command; notes are printed in between."""
    outcome = Outcome(9, 0, 6, Counter({"too-small": 2}), Counter({"other-file": 1}), 0.5)

    show_build.build_outcome(outcome, SUMMARY, Path("my rooms"), Path("page.html"), False)
    plain = capsys.readouterr().out.splitlines()
    outcome.notes.append("A note.")
    show_build.build_outcome(outcome, SUMMARY, Path("rooms"), Path("page.html"), False)

    assert plain == [
        "my rooms: 3 triples, unchanged. 9 files found: 6 already in the dataset, 2 rejected: too-small, "
        "1 skipped: other-file.",
        "Report: page.html",
        "Next: segkit check 'my rooms'",
    ]
    assert capsys.readouterr().out.splitlines()[1] == "A note."


def test_long_tables_say_how_many_rows_are_missing(capsys: Capture) -> None:
    """Of classes and sizes the first are listed, and the others counted."""
    classes = {f"class {number}": 0.01 for number in range(show_build.MAX_ROWS + 12)}
    sizes = {f"{number} x 8": 1 for number in range(show_build.MAX_ROWS + 1)}

    show_build.build_outcome(
        Outcome(3, 3, changed=True, examined=True),
        replace(SUMMARY, classes=classes),
        Path("rooms"),
        Path("page.html"),
        False,
    )
    built = capsys.readouterr().out
    show_build.build_plan(Plan(3, 3, 0, {}, {}, sizes, 1.0, 1.0, "", 3), ["A note."], False)
    planned = capsys.readouterr().out

    assert "... and 12 more (--json lists all of them)" in built
    assert f"class {show_build.MAX_ROWS}" not in built
    assert "... and 1 more (--json lists all of them)" in planned
    assert "A note." in planned.splitlines()
    assert "Estimated from" not in planned


def test_a_sample_is_called_that(capsys: Capture) -> None:
    """A plan from a part of the photos says from how many."""
    show_build.build_plan(Plan(1000, 900, 0, {"damaged": 90}, {"hidden": 10}, {}, 1.0, 1.0, "", 120), [], False)

    assert "Estimated from 120 of 990 photos; only the build compares all for copies." in capsys.readouterr().out


def test_a_plan_on_a_cluster_says_what_was_measured(capsys: Capture) -> None:
    """And what was computed from it for all photos: hours, disk space, inodes and memory."""
    capacity = Capacity(workers=8, machines=1, cpus=64, gpus=8, worker_bytes=3_210_000_000)
    plan = Plan(
        10**6, 10**6, 0, {}, {}, {}, 100_000, 186_000, opened=120, inodes=2 * 10**6, memory=540.0, capacity=capacity,
        photo_seconds=0.8,
    )  # fmt: skip

    show_build.build_plan(plan, [], False)

    assert capsys.readouterr().out.splitlines()[-2:] == [
        "The build would take about 27.8 hours on this cluster and 186,000.0 MB of disk space.",
        "Measured: 0.8 s a photo with the networks in one worker, which has taken 3,210 MB of memory so far; photos "
        "read here. Computed: the time, for 8 workers on 64 cores and 8 GPUs; 2,000,000 inodes; 540.0 MB of memory "
        "here for what is known of all photos. Not included: "
        "starting Ray, and loading the networks.",
    ]


def test_real_and_requested_shares_are_shown(capsys: Capture) -> None:
    """After a build that changed something."""
    summary = replace(SUMMARY, splits={"train": 13, "val": 3}, requested={"val": 0.2})

    show_build.build_outcome(
        Outcome(16, 16, changed=True, examined=True), summary, Path("rooms"), Path("page.html"), False
    )

    assert "Splits: 13 train, 3 val (18.8%, requested 20.0%)." in capsys.readouterr().out.splitlines()


def test_a_build_that_only_renamed_photos_needs_no_tables(capsys: Capture) -> None:
    """Its notes say what changed."""
    outcome = Outcome(6, 0, 6, changed=True, notes=["Photos found under another name: 1 (a.jpg)."])

    show_build.build_outcome(outcome, SUMMARY, Path("rooms"), Path("page.html"), False)

    assert capsys.readouterr().out.splitlines() == [
        "rooms: 3 triples. 6 photos found: 6 already in the dataset.",
        "Photos found under another name: 1 (a.jpg).",
        "Report: page.html",
        "Next: segkit check rooms",
    ]
