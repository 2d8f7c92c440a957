"""Protocols: presets fix their values, judges are the network that they should be, and folders hold one protocol."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segkit as api
from segkit.errors import ModelError, SettingError, UsageError
from segkit.models import hub
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy import world
from tests.conftest import Models, Segkit
from tests.models import families
from trainer.evaluate import judging, presets, protocols
from trainer.evaluate.settings import EvaluateSettings

PLUS_PLUS = "controlnet-plus-plus"
QUICK = ["--base", "toy", "--resolution", 64, "--steps", 1, "--guidance", 1, "--limit", 1, "--device", "cpu"]


def preset(name: str, **chosen: Any) -> EvaluateSettings:
    """Return the settings of an evaluation by a preset."""
    return EvaluateSettings(**presets.complete({"preset": name, **chosen}))


def test_a_preset_fixes_what_was_published() -> None:
    """ControlNet++ publishes the drawing and the judge, ControlNet's paper the judge alone."""
    settings = preset(PLUS_PLUS, device="cpu")
    assert (settings.resolution, settings.count, settings.scheduler, settings.steps) == (512, 4, "unipc", 20)
    assert (settings.guidance, settings.negative) == (7.5, "worst quality, low quality")
    assert (settings.judge, settings.judge_size, settings.device) == ("mask2former-large", 640, "cpu")

    assert preset("controlnet-paper") == EvaluateSettings(preset="controlnet-paper", judge="oneformer-large")


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 30), ("count", 1), ("strengths", "1,2"), ("judge_size", 0), ("guidance_end", 0.5)]
)
def test_a_value_that_contradicts_a_preset_is_refused(name: str, value: Any) -> None:
    """Even one that is the default without the preset; an equal one passes."""
    fixed = presets.PRESETS[PLUS_PLUS].values[name]
    with pytest.raises(SettingError, match=f"expected {fixed!r}, as preset={PLUS_PLUS} fixes it"):
        preset(PLUS_PLUS, **{name: value})
    assert preset(PLUS_PLUS, **{name: fixed}) == preset(PLUS_PLUS)


def test_contradictions_are_noticed_from_the_command_line_and_python(segkit: Segkit, tmp_path: Path) -> None:
    """What was typed counts, not how it compares with a default; the message names the options."""
    typed = segkit("evaluate", "fresh", "--dataset", tmp_path, "--preset", PLUS_PLUS, "--steps", 30)

    assert typed.code == 2
    assert f"--steps 30: expected 20, as --preset {PLUS_PLUS} fixes it" in typed.err
    with pytest.raises(SettingError, match="steps=30: expected 20"):
        api.evaluate("fresh", tmp_path, preset=PLUS_PLUS, steps=30)
    with pytest.raises(SettingError, match="preset='plus': expected '' or controlnet-plus-plus or controlnet-paper"):
        api.evaluate("fresh", tmp_path, preset="plus")


def test_the_judge_of_a_preset_is_known_by_name_or_architecture(
    tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A released one by its short name or hub id, a copy of it by its config.json; others are refused."""
    released = "facebook/mask2former-swin-large-ade-semantic"
    (tmp_path / "config.json").write_text("{")
    with monkeypatch.context() as patch:
        patch.setattr(hub, "_cached", {released: tmp_path}.get)
        for judge in ("mask2former-large", released):
            protocols.require_judge(preset(PLUS_PLUS, judge=judge))
        with pytest.raises(ModelError, match="cannot be used"):
            protocols.require_judge(preset("controlnet-paper", judge=released))
    protocols.require_judge(preset("controlnet-paper", judge=str(models.oneformer)))
    small = families.write(tmp_path / "small", "mask2former")
    expected = {PLUS_PLUS: "mask2former-large or another Mask2Former with Swin-L",
                "controlnet-paper": "oneformer-large or any other OneFormer"}  # fmt: skip
    for name, judges in expected.items():
        with pytest.raises(UsageError, match=f"expected {judges}, as preset={name} fixes it"):
            protocols.require_judge(preset(name, judge=str(small)))

    content = json.loads((small / "config.json").read_text())
    content["backbone_config"] |= {"embed_dim": 192, "depths": [2, 2, 18, 2]}
    (small / "config.json").write_text(json.dumps(content))
    protocols.require_judge(preset(PLUS_PLUS, judge=str(small)))


def test_a_judge_looks_at_the_chosen_size() -> None:
    """It sees what a segmenter scaled to that size sees; the size is part of its identity: nothing else is reused."""
    ade, photo = Palette.load("ade20k"), world.scene(1, (96, 96)).photo
    plain, scaled = (
        judging.load(EvaluateSettings(judge="toy-judge", judge_size=size, device="cpu"), ade) for size in (0, 112)
    )
    (seen,), (other,) = scaled.segment([photo]), plain.segment([photo])
    (expected,) = NeuralSegmenter("toy-judge", ade, Device("cpu", "fp32"), 112)([photo])

    assert scaled.identity == plain.identity | {"size": "112"}
    assert np.array_equal(seen.labels, expected.labels)
    assert not np.array_equal(seen.labels, other.labels)


def test_an_evaluation_by_a_preset_says_so(rooms: Path, segkit: Segkit, tmp_path: Path) -> None:
    """ControlNet's paper with the toy OneFormer: name, values and maps are recorded, and what it does not publish."""
    words = ["evaluate", "fresh", "--dataset", rooms, "-o", tmp_path / "out", *QUICK, "--preset", "controlnet-paper"]
    done = segkit(*words, "--judge", "toy")

    assert done.code == 0, done.err
    assert "Protocol: controlnet-paper. Figures of other protocols do not compare." in done.out
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    protocol = json.loads((tmp_path / "out" / "protocol.json").read_text())
    assert record["protocol"].items() >= protocol.items()
    assert protocol.items() >= {"name": "controlnet-paper", "judge": "toy", "steps": 1, "resolution": 64}.items()
    assert (record["protocol"]["maps"], len(record["protocol"]["maps_sha256"])) == (1, 64)
    assert any("but not how pictures were drawn" in note for note in record["notes"])
    assert "Protocol: controlnet-paper" in (tmp_path / "out" / "report.html").read_text()

    before = {path: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.png"))}
    other = segkit(*words, "--judge", "toy", "--scheduler", "ddim", "--negative", "blurred")
    assert other.code == 2
    assert "--negative '' became --negative 'blurred'; --scheduler 'dpm++' became --scheduler 'ddim'" in other.err
    assert {path: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.png"))} == before


def test_notes_name_the_maps_of_a_preset() -> None:
    """ControlNet++ has 2,000 maps; a preset's caveat is always stated."""
    few, all_maps = (protocols.notes(preset(PLUS_PLUS), maps) for maps in (30, 2000))
    assert few == [f"{PLUS_PLUS} has 2,000 maps of ADE20K's validation split, this evaluation 30.", *all_maps]
    assert len(all_maps) == 1
    assert protocols.notes(EvaluateSettings(), 30) == []


def test_loras_are_part_of_the_protocol(tmp_path: Path) -> None:
    """A folder holds pictures with the same LoRAs, told apart by their bytes; published figures have none."""
    (tmp_path / "a.safetensors").write_bytes(b"1")
    plain, changed = EvaluateSettings(), EvaluateSettings(lora=(f"{tmp_path / 'a.safetensors'}:0.5",))
    assert "lora" not in protocols.describe(plain)
    assert [record["weight"] for record in protocols.describe(changed)["lora"]] == [0.5]

    protocols.record(tmp_path, plain)
    with pytest.raises(UsageError, match=r"lora=\[\] became lora=.*a\.safetensors"):
        protocols.require_same(tmp_path, changed)
    with pytest.raises(SettingError, match="expected none, as the figures of preset=controlnet-plus-plus have none"):
        preset(PLUS_PLUS, lora=["a.safetensors"])


def test_a_damaged_record_of_a_protocol_is_replaced(tmp_path: Path) -> None:
    """A folder whose protocol cannot be read is one without; pictures still tell how they were drawn."""
    for content in (b"{", b"[]", b"\xff"):
        (tmp_path / protocols.FILE).write_bytes(content)
        protocols.require_same(tmp_path, EvaluateSettings())
    protocols.record(tmp_path, EvaluateSettings())
    protocols.require_same(tmp_path, EvaluateSettings(count=4, seed=9, limit=3, strength=0.5, device="cpu"))
    with pytest.raises(UsageError, match="steps=30 became steps=20"):
        protocols.require_same(tmp_path, EvaluateSettings(steps=20))
