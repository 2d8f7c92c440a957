"""Previews during training."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.conftest import Segkit
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.data.decoder import Decoder

pytestmark = pytest.mark.usefixtures("short_callbacks")

DRAWN = {"steps": 2, "checkpoint_every": 1, "evaluate_every": 1, "preview_every": 1}


@pytest.fixture(scope="module")
def drawn(rooms: Path, base: Path, short_callbacks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with previews and validation. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("drawn") / "run", **DRAWN)


def pictures(run: Path) -> dict[str, str]:
    """Return the hashes of a run's previews by path."""
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (run / "previews").rglob("*.png")
    }


def test_previews_are_saved_with_contact_sheets(drawn: Path) -> None:
    """The held-out map is drawn at steps 0, 1 and 2: a picture in the crop's size, and a sheet for the report."""
    names = {f"previews/step-{step:08}{suffix}" for step in (0, 1, 2) for suffix in (".png", "/0.png")}
    assert pictures(drawn).keys() == names
    with Image.open(drawn / "previews" / "step-00000002" / "0.png") as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
    with Image.open(drawn / "previews" / "step-00000002.png") as sheet:
        assert sheet.width == 4 * 208 + 8
        assert sheet.height > 200
    assert "data:image/png;base64," in (drawn / "report.html").read_text()


def test_validation_and_previews_do_not_change_training(
    drawn: Path, rooms: Path, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Losses and weights equal those of a run without either; so do runs without a cache or with a stop."""
    bare = {**DRAWN, "evaluate_every": 0, "preview_every": 0}
    for run, options in (("bare", bare), ("plain", DRAWN | {"no_cache": True}), ("halves", DRAWN | {"steps": 1})):
        assert segkit(*words(rooms, base, tmp_path / run, **options)).code == 0
    assert segkit(*words(rooms, base, tmp_path / "halves", **DRAWN)).code == 0

    for run in ("bare", "plain", "halves"):
        assert same(weights_of(tmp_path / run), weights_of(drawn))
    assert [line["loss"] for line in log(tmp_path / "bare")] == [line["loss"] for line in log(drawn)]
    assert not (tmp_path / "bare" / "previews").exists()
    for run in ("plain", "halves"):
        assert log(tmp_path / run) == log(drawn)
        assert pictures(tmp_path / run) == pictures(drawn)


def test_running_out_of_memory_for_previews_does_not_end_the_run(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding falls back to the CPU; if sampling fails, previews are skipped and the log says so."""

    def out_of_memory(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    original, devices = Decoder._decoded, list[str]()

    def fail_once(self: Decoder, latents: Any, device: Any) -> Any:
        devices.append(str(device))
        return out_of_memory() if len(devices) == 1 else original(self, latents, device)

    monkeypatch.setattr(Decoder, "_decoded", fail_once)
    assert segkit(*words(rooms, base, tmp_path / "slow", steps=1, preview_every=9)).code == 0
    assert devices[:2] == ["cpu", "cpu"]
    assert (tmp_path / "slow" / "previews" / "step-00000000" / "0.png").is_file()

    monkeypatch.setattr("trainer.sample.sampler.sample", out_of_memory)
    done = segkit(*words(rooms, base, tmp_path / "run", steps=1, preview_every=1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert done.code == 0
    assert all("previews skipped: out of memory" in line["says"] for line in lines)
