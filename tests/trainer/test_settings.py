"""Settings are checked when they are created, and a run.toml keeps all of them."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import SettingError, UsageError
from tests.conftest import Segkit
from trainer import settings
from trainer.settings import GenerateSettings, TrainSettings

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
"""What a setting of a run.toml may be: no lone surrogates, and in paths no control characters."""


@given(
    st.builds(
        TrainSettings, base=TEXT.filter(str.strip), name=TEXT, resolution=st.integers(1, 32).map(lambda n: 64 * n),
        flip=st.booleans(), learning_rate=st.floats(1e-9, 1e9), schedule=st.sampled_from(["constant", "cosine"]),
        seed=st.integers(0, 2**63 - 1), device=st.sampled_from(["auto", "cpu"]), cpu=st.booleans(),
    )
)  # fmt: skip
def test_a_run_toml_keeps_every_setting(options: TrainSettings) -> None:
    """Written and read again, all values are equal, whatever text or number they are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.toml"
        path.write_bytes(settings.to_toml(options, Path("my rooms"), Path("run")))
        values = settings.read(path)

    assert (values.pop("dataset"), values.pop("output")) == ("my rooms", "run")
    assert values == asdict(options)
    assert TrainSettings(**values) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset = 3", "dataset = 3: expected text"),
        ("\xff", "not valid TOML: line 1 is not UTF-8; save"),
        (None, "cannot be read (No such file or directory). Check the path and its permissions."),
    ],
)
def test_an_unreadable_run_toml_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    """The message names the file and the fault."""
    path = tmp_path / "run.toml"
    if text:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as refused:
        settings.read(path)
    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (TrainSettings, {"resolution": 100}, "resolution=100: expected a multiple of 64, at least 64."),
        (TrainSettings, {"ema": 1.0}, "ema=1.0: expected at least 0, below 1."),
        (TrainSettings, {"schedule": "steps"}, "schedule='steps': expected constant or linear or cosine."),
        (TrainSettings, {"learning_rate": 0.0}, "learning_rate=0.0: expected more than 0."),
        (TrainSettings, {"base": ""}, "base='': expected a value that is not empty."),
        (TrainSettings, {"cpu": True, "device": "cuda"}, "device='cuda': expected cpu, because cpu is set."),
        (TrainSettings, {"start_strength": 0.0}, "start_strength=0.0: expected more than 0, at most 10."),
        (
            TrainSettings,
            {"controlnet": "fresh", "start_strength": 1.5},
            "expected 1, because controlnet=fresh begins with zero convolutions, which stay zero at any strength.",
        ),
        (TrainSettings, {"reward": "toy", "reward_share": 1.0}, "sampling steps too, as in reward_steps=6."),
        (
            TrainSettings,
            {"reward": "toy", "reward_gradient_steps": 0},
            "1, because no pictures are drawn: set their number of sampling steps too, as in reward_steps=6.",
        ),
        (
            TrainSettings,
            {"reward_steps": 6},
            "=6: expected 0, because there is no reward: set it too, as in reward=toy.",
        ),
        (GenerateSettings, {"resolution": 8}, "resolution=8: expected 0, or at least 64."),
        (GenerateSettings, {"resolution": -1}, "resolution=-1: expected 0, or at least 64."),
        (GenerateSettings, {"seed": 2**63 - 3, "count": 3}, f"expected 0 to {2**63 - 4}."),
        (GenerateSettings, {"steps": 0}, "steps=0: expected at least 1, at most 999."),
        (GenerateSettings, {"steps": 1000}, "steps=1000: expected at least 1, at most 999."),
        (GenerateSettings, {"control_start": 0.5, "control_end": 0.5}, "=0.5: expected less than control_end=0.5."),
        (GenerateSettings, {"strength": 0.5, "strengths": "1"}, "expected only one of strength and strengths."),
        (GenerateSettings, {"strengths": "1,1.0"}, "expected different numbers of at least 0, such as 0.5,1,1.5."),
        (GenerateSettings, {"strengths": "1,-1"}, "expected different numbers of at least 0, such as 0.5,1,1.5."),
        (GenerateSettings, {"strengths": "inf"}, "expected different numbers of at least 0, such as 0.5,1,1.5."),
        (GenerateSettings, {"strengths": "1;2"}, "expected different numbers of at least 0, such as 0.5,1,1.5."),
    ],
)
def test_a_wrong_value_is_refused(kind: Any, wrong: dict[str, Any], message: str) -> None:
    """The message has the value and what was expected, also where two settings contradict each other."""
    with pytest.raises(SettingError) as refused:
        kind(**wrong)
    assert str(refused.value).endswith(message)


def test_limits_are_allowed() -> None:
    """The largest seeds, the map's own size and a CPU that is named twice."""
    assert GenerateSettings(seed=2**63 - 4, count=3, resolution=0).resolution == 0
    assert TrainSettings(cpu=True, device="cpu").cpu


@pytest.mark.parametrize(
    ("prediction", "expected"), [("auto", None), ("epsilon", "epsilon"), ("v_prediction", "v_prediction")]
)
def test_the_prediction_type_may_be_the_bases(prediction: Any, expected: str | None) -> None:
    """Auto leaves the choice to the base."""
    assert TrainSettings(prediction=prediction).prediction_type == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x]\nsteps = 3", "my.toml, line 1: unknown setting 'x'"),
        ("stepps = 3", "my.toml, line 1: unknown setting 'stepps'. Did you mean steps?"),
        ("\nsteps = '3'", "my.toml, line 2: steps = '3': expected a whole number"),
        ("flip = 1", "line 1: flip = 1: expected true or false"),
        ("steps =", "not valid TOML: line 1 (steps =): invalid value"),
        ("steps = 0", "line 1: steps = 0: expected at least 1"),
    ],
)
def test_an_invalid_config_is_reported(rooms: Path, tmp_path: Path, segkit: Segkit, text: str, message: str) -> None:
    """The error is one line, and no run is created."""
    (tmp_path / "my.toml").write_text(text)
    done = segkit("train", rooms, "--config", tmp_path / "my.toml", "-o", tmp_path / "run")
    assert (done.code, message in done.err, done.err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "run").exists()
