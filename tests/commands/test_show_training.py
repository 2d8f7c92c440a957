"""Results of training, generation and evaluation as text and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segkit.commands import show_training
from segkit.maps.bootstrap import Estimate
from tests.trainer.evaluate.test_scores import example
from trainer.loop import Outcome
from trainer.run.dry_run import Plan
from trainer.sample.generate import Picture
from trainer.sample.requests import DrawRequest

Capture = pytest.CaptureFixture[str]
STOPPED = Outcome(Path("run"), 0, 0, float("nan"), 0, None, "", None, 40, 0, ())
PLAN = Plan(
    triples=1200, held_out=0, empty_prompts=7, notes=("A note.",), sizes={"64 x 64": 1000, "96 x 64": 200},
    trained=4_800_000, memory={"weights": 5_000_000},
    steps=300, resumed=100, cache=0, cache_photos=0, cache_prompts=0, cache_triple=0, cache_seconds=0.0,
    step_seconds=0.25, seconds=75.0, cut=0, device="cpu, fp32", picture=Path("run-first-batch.png"),
)  # fmt: skip


def test_a_stopped_training_says_how_to_resume(capsys: Capture) -> None:
    """JSON has no NaN, so a loss that was not measured is null."""
    show_training.trained(STOPPED, False)
    text = capsys.readouterr().out
    show_training.trained(STOPPED, True)
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)

    assert text.splitlines()[0] == "run: 0 steps."
    assert "there is no checkpoint yet. Run the same command again to start." in text
    assert (record["run"], record["steps"], record["loss"], record["file"]) == ("run", 0, None, None)


def test_a_finished_training_names_its_files(capsys: Capture) -> None:
    """The verdict, the best checkpoint and the exported file are in both forms."""
    file = Path("run/run.safetensors")
    outcome = Outcome(Path("run"), 3000, 1000, 0.125, 2, 2500, "the network uses the map", file, 40, 3, ("A note.",))

    show_training.trained(outcome, False)
    text = capsys.readouterr().out
    show_training.trained(outcome, True)

    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "run": "run", "steps": 3000, "resumed": 1000, "loss": 0.125, "cut_prompts": 2, "best_step": 2500,
        "says": "the network uses the map", "file": "run/run.safetensors", "triples": 40, "empty_prompts": 3,
        "notes": ["A note."],
    }  # fmt: skip
    assert "Prompts: 40, 3 empty.\nA note.\n" in text
    for part in ("3,000 steps, resumed at step 1,000", "The network uses the map.", "step-00002500", "run.safetensors"):
        assert part in text


def test_a_plan_is_printed_in_words(capsys: Capture) -> None:
    """Without held-out triples the plan says how to get some; nothing is said about a cache that is complete."""
    show_training.plan(PLAN, Path("rooms"), Path("run"), False)

    text = capsys.readouterr().out
    assert "1,200 training triples, none held out (" in text
    assert "1,000 photos of 64 x 64, 200 photos of 96 x 64 pixels" in text
    assert "4,800,000 trainable weights on cpu, fp32; 300 steps remaining, resumed at step 100." in text
    assert "0.25 s per step, 75 s in total" in text
    assert "Prompts: 1,200, 7 empty.\nA note.\n" in text
    assert "Cache" not in text
    assert "Fidelity" not in text
    assert "truncated" not in text


def test_fidelity_is_printed_where_it_is_measured(capsys: Capture) -> None:
    """Train states the last mIoU with its interval, in words and as JSON; the plan how long evaluations take."""
    show_training.plan(replace(PLAN, evaluations=3, fidelity_seconds=20.0), Path("rooms"), Path("run"), False)
    planned = capsys.readouterr().out
    measured = replace(STOPPED, fidelity=Estimate(0.5, 0.25, 0.75))
    show_training.trained(measured, False)
    text = capsys.readouterr().out
    show_training.trained(measured, True)

    assert "Fidelity: 3 evaluations of 20 s, 60 s of the time below." in planned
    assert "mIoU of held-out maps, as the judge sees their pictures: 0.500 (0.250 to 0.750)." in text
    assert json.loads(capsys.readouterr().out)["fidelity"] == {"value": 0.5, "low": 0.25, "high": 0.75}


def test_a_guess_is_printed_wherever_a_base_is_used(capsys: Capture) -> None:
    """A prediction type that was measured is stated by train, its dry run and generate, in words and as JSON."""
    guess = "Prediction type: epsilon (measured)."
    picture = Picture(Path("a.png"), DrawRequest("a", Path("a.png"), "a bed"), 0, False, False, guess)
    for as_json in (False, True):
        show_training.trained(replace(STOPPED, guess=guess), as_json)
        show_training.plan(replace(PLAN, guess=guess), Path("rooms"), Path("run"), as_json)
        show_training.generated([picture], Path("out"), as_json)
        assert capsys.readouterr().out.count(guess) == 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(89, "89 s"), (90, "2 minutes"), (5399, "90 minutes"), (9000, "2.5 hours")]
)
def test_durations_have_a_suitable_unit(capsys: Capture, seconds: float, text: str) -> None:
    """Seconds, minutes or hours."""
    plan = replace(PLAN, held_out=60, cut=3, cache=2_000_000, cache_photos=10, cache_seconds=4, seconds=seconds)
    plan = replace(plan, cache_prompts=1, cache_triple=498_688)
    show_training.plan(plan, Path("rooms"), Path("run"), False)

    out = capsys.readouterr().out
    assert f", {text}" in out
    assert "60 held out; " in out
    assert "Prompts over CLIP's 77 tokens, to be truncated: 3." in out
    assert "10 photos (mirrored ones included) and 1 prompt still to be encoded: 2.0 MB, 499 kB a triple, 4 s." in out


def test_json_of_a_plan_has_every_attribute(capsys: Capture) -> None:
    """The picture is a path in text."""
    show_training.plan(PLAN, Path("rooms"), Path("run"), True)

    record = json.loads(capsys.readouterr().out)
    assert record == {"schema": 1, **PLAN.to_json()}
    assert record["picture"] == "run-first-batch.png"


def test_pictures_that_existed_are_counted_apart(capsys: Capture) -> None:
    """A prompt that was truncated is counted once, however many pictures were drawn from it."""
    request = DrawRequest("a", Path("a.png"), "a bed")
    pictures = [Picture(Path(f"a-{seed}.png"), request, seed, seed == 0, True) for seed in range(3)]

    show_training.generated(pictures, Path("out"), False)
    text = capsys.readouterr().out
    show_training.generated(pictures, Path("out"), True)

    assert text.splitlines() == [
        "out: 2 pictures drawn, 1 existed already.",
        "Prompts over CLIP's 77 tokens, truncated: 1.",
        "Pictures: a-0.png, a-1.png, a-2.png",
        "Next: the same command with --seed 3, for other pictures of the same maps.",
    ]
    rows = json.loads(capsys.readouterr().out)["pictures"]
    assert rows[1] == {
        "picture": "a-1.png", "map": "a.png", "prompt": "a bed", "seed": 1, "strength": 1.0, "kept": False, "cut": True
    }  # fmt: skip


def test_an_evaluation_is_printed_with_intervals(capsys: Capture) -> None:
    """A row for each contender, the verdict and the report; as JSON every number."""
    evaluation = example()

    show_training.evaluated(evaluation, False)
    text = capsys.readouterr().out
    show_training.evaluated(evaluation, True)
    record = json.loads(capsys.readouterr().out)

    assert "2 maps, compared with what eye sees" in text
    assert text.index("rooms-run") < text.index("base alone") < text.index("photos")
    assert evaluation.verdict in text
    assert "Report: out/report.html" in text
    assert record == {"schema": 1, **evaluation.to_json()}


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ((".segkit/dataset.toml",), "segkit build-dataset PHOTOS -o '{}' --split val=0.1 holds some out"),
        (("metadata.csv",), "val in a column split of its metadata holds a triple out"),
        (
            ("prompt.json",),
            "this layout holds none out; an imagefolder's metadata.jsonl does, by val in a column split",
        ),
    ],
)
def test_a_plan_says_how_to_hold_out_in_each_layout(
    capsys: Capture, tmp_path: Path, files: tuple[str, ...], hint: str
) -> None:
    """Only a dataset of segkit can be built again with --split."""
    dataset = tmp_path / "my data"
    for name in files:
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_text("file_name,conditioning_image_file_name,text\na.jpg,b.png,a room\n")

    show_training.plan(PLAN, dataset, Path("run"), False)

    assert f"none held out ({hint.format(dataset)});" in capsys.readouterr().out
