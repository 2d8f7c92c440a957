"""segkit generate: pictures from control maps, with diffusers' pipeline on small networks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from segkit import storage
from segkit.errors import MapError
from segkit.maps import codec
from segkit.palette import Palette, extend
from segkit.toy import world
from segkit.toy.world import damage
from tests.conftest import Models, Segkit
from tests.trainer.runs import path_of
from tests.trainer.sample.maps import ADE, write_map
from trainer.checkpoints import export, find, load, runs
from trainer.sample import controls, networks, recipes, sampler, sources
from trainer.sample.requests import DrawRequest, Subject
from trainer.settings import GenerateSettings


@pytest.fixture
def command(base: Path, controlnet_folder: Path, tmp_path: Path) -> list[Any]:
    """The arguments that draw small pictures."""
    options = ["--base", base, "--controlnet", controlnet_folder, "--resolution", 128, "--steps", 2, "--device", "cpu"]
    return ["generate", *options, "-o", tmp_path / "pictures"]


def pixels(path: Path) -> bytes:
    """Return a picture's raw pixels."""
    with Image.open(path) as image:
        return image.tobytes()


def test_equal_seeds_give_equal_pictures(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """A picture is the same drawn alone or among others; another seed, map or strength changes it."""
    write_map(tmp_path / "maps" / "a.png", 1)
    write_map(tmp_path / "maps" / "deep" / "b.png", 2)
    (tmp_path / "maps" / "a.txt").write_text("a room")
    alone = [*command[:-1], tmp_path / "alone"]

    many = segkit(*command, "--map", tmp_path / "maps", "--prompt", "a street", "--count", 2, "--json")
    one = segkit(*alone, "--map", tmp_path / "maps" / "deep" / "b.png", "--prompt", "a street", "--seed", 1)
    weak = segkit(
        *command[:-1], tmp_path / "weak", "--map", tmp_path / "maps" / "a.png", "--prompt", "a room", "--strength", 0
    )

    assert (many.code, one.code, weak.code) == (0, 0, 0)
    rows = json.loads(many.out)["pictures"]
    assert [(row["prompt"], row["seed"]) for row in rows] == [
        ("a room", 0),
        ("a room", 1),
        ("a street", 0),
        ("a street", 1),
    ]
    drawn = [pixels(Path(row["picture"])) for row in rows]
    assert len(set(drawn)) == 4
    assert pixels(tmp_path / "alone" / "b-1.png") == drawn[3]
    assert pixels(tmp_path / "weak" / "a-0.png") != drawn[0]


def test_a_lora_changes_the_picture_and_is_recorded(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """Its file and weight are part of the recipe; with weight 0 it changes no pixel."""
    key = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_{}.weight"
    save_file({key.format("A"): torch.randn(2, 64), key.format("B"): torch.randn(64, 2)}, tmp_path / "a.safetensors")
    scene = ["--map", write_map(tmp_path / "a.png", 1), "--prompt", "a room"]
    file = tmp_path / "a.safetensors"
    options: dict[str, list[Any]] = {"none": [], "zero": ["--lora", f"{file}:0"], "one": ["--lora", file]}

    results = [segkit(*command[:-1], tmp_path / name, *scene, *lora) for name, lora in options.items()]

    assert [result.code for result in results] == [0, 0, 0]
    none, zero, one = (tmp_path / name / "a-0.png" for name in ("none", "zero", "one"))
    assert pixels(none) == pixels(zero) != pixels(one)
    assert "lora" not in recipes.read(none)
    (recorded,) = recipes.read(one)["lora"]
    assert (recorded["file"], recorded["weight"]) == ("a.safetensors", 1.0)
    assert recorded["sha256"] == storage.sha256((tmp_path / "a.safetensors").read_bytes())


def test_only_missing_pictures_are_drawn(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """Pictures with an equal recipe are reused; other files are overwritten only with --overwrite."""
    call = [*command, "--map", write_map(tmp_path / "a.png", 1), "--prompt", "a room", "--count", 3]
    assert segkit(*call).code == 0
    first = [path.read_bytes() for path in sorted((tmp_path / "pictures").iterdir())]
    (tmp_path / "pictures" / "a-1.png").unlink()

    again = segkit(*call, "--json")
    other = segkit(*call, "--guidance", 3)
    (tmp_path / "pictures" / "a-2.png").write_text("mine")
    mine = segkit(*call)

    assert [row["kept"] for row in json.loads(again.out)["pictures"]] == [True, False, True]
    assert other.code == mine.code == 2
    assert "3 of 3 pictures would replace other files" in other.err
    assert "1 of 3 pictures would replace other files" in mine.err
    assert (tmp_path / "pictures" / "a-2.png").read_text() == "mine"
    assert segkit(*call, "--overwrite").code == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "pictures").iterdir())] == first


@pytest.mark.parametrize("part", ["controlnet", "unet", "vae", "text_encoder"])
def test_any_changed_weight_is_drawn_again(
    base: Path, controlnet_folder: Path, tmp_path: Path, segkit: Segkit, part: str
) -> None:
    """The last value of a weight counts like the first: an equal recipe means equal networks."""
    import shutil

    from safetensors.torch import load as parse
    from safetensors.torch import save_file

    shutil.copytree(base, tmp_path / "base")
    shutil.copytree(controlnet_folder, tmp_path / "controlnet")
    options = ["--base", tmp_path / "base", "--controlnet", tmp_path / "controlnet", "--resolution", 128]
    call = ["generate", *options, "--steps", 1, "--device", "cpu", "-o", tmp_path / "pictures", "--prompt", "a room"]
    call += ["--map", write_map(tmp_path / "a.png", 1), "--json"]
    assert segkit(*call).code == 0
    assert [row["kept"] for row in json.loads(segkit(*call).out)["pictures"]] == [True]

    folder = tmp_path / "controlnet" if part == "controlnet" else tmp_path / "base" / part
    (path,) = folder.glob("*.safetensors")
    weights = parse(path.read_bytes())
    largest = max(weights, key=lambda name: weights[name].numel())
    weights[largest].view(-1)[-1] += 1e-3
    save_file(weights, path)

    changed = segkit(*call)
    assert changed.code == 2
    assert "1 of 1 pictures would replace other files" in changed.err


def test_the_prediction_type_and_the_vocabulary_count(base: Path) -> None:
    """Both change the picture and are no weights."""
    from dataclasses import replace

    loaded = load.load_base(str(base))
    controlnet = load.load_controlnet("fresh", loaded)
    before = networks.digests(loaded, controlnet)

    assert networks.digests(replace(loaded, prediction="v_prediction"), controlnet)[0] != before[0]
    loaded.tokenizers[0].add_tokens(["segkit"])
    assert networks.digests(loaded, controlnet)[2] != before[2]


def test_a_guessed_prediction_type_is_printed(models: Models, tmp_path: Path, segkit: Segkit) -> None:
    """A single file does not record its prediction type: the guess is stated unless --prediction is passed."""
    from safetensors.torch import save_file

    from tests.trainer import single_file
    from tests.trainer.conftest import base_folder

    base = load.load_base(str(base_folder(tmp_path / "base", models.clip)))
    save_file(single_file.state(base), tmp_path / "base.safetensors")
    export.write_folder(tmp_path / "controlnet", load.load_controlnet("fresh", base))
    call = ["generate", "--base", tmp_path / "base.safetensors", "--tokenizer", models.clip, "--prompt", "a room"]
    call += ["--controlnet", tmp_path / "controlnet", "--resolution", 128, "--steps", 1, "--device", "cpu"]
    call += ["--map", write_map(tmp_path / "a.png", 1)]

    guessed = segkit(*call, "-o", tmp_path / "guessed")
    passed = segkit(*call, "-o", tmp_path / "passed", "--prediction", "epsilon")

    assert (guessed.code, passed.code) == (0, 0)
    assert "Prediction type: epsilon" in guessed.out
    assert "Prediction type" not in passed.out
    assert pixels(tmp_path / "guessed" / "a-0.png") == pixels(tmp_path / "passed" / "a-0.png")


def test_mistakes_are_reported_in_one_line(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """A blurred, shifted, black or missing map, no prompt, or two maps with one name: nothing is drawn."""
    blurred = Image.open(write_map(tmp_path / "a.png", 1)).convert("RGB").resize((75, 50))
    blurred.save(tmp_path / "blurred.png")
    damage.by("shifted", world.scene(5, (96, 96)).labels).save(tmp_path / "shifted.png")
    Image.new("RGB", (96, 96)).save(tmp_path / "black.png")
    write_map(tmp_path / "twins" / "a.png", 1)
    write_map(tmp_path / "twins" / "a.PNG", 1)
    mistakes = {
        "pixels are off the palette ade20k. Fix it: segkit snap": ["--map", tmp_path / "blurred.png", "--prompt", "x"],
        "make more sense if black is the first class": ["--map", tmp_path / "shifted.png", "--prompt", "x"],
        "no pixel has a class. Paint its areas": ["--map", tmp_path / "black.png", "--prompt", "x"],
        "nothing.png does not exist": ["--map", tmp_path / "nothing.png", "--prompt", "x"],
        'has no prompt. Pass --prompt "..."': ["--map", tmp_path / "a.png"],
        "would be drawn into the same picture": ["--map", tmp_path / "twins", "--prompt", "x"],
        "--steps 0: expected at least 1": ["--map", tmp_path / "a.png", "--prompt", "x", "--steps", 0],
    }
    for message, flags in mistakes.items():
        done = segkit(*command, *flags)
        assert (done.code, message in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert not (tmp_path / "pictures").exists()


def test_a_truncated_prompt_is_reported(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """A prompt longer than CLIP's 77 tokens is not truncated silently."""
    done = segkit(*command, "--map", write_map(tmp_path / "a.png", 1), "--prompt", "word " * 90)
    assert done.code == 0
    assert "Prompts over CLIP's 77 tokens, truncated: 1." in done.out


def test_the_controlnet_receives_palette_colours_only(
    base: Path, controlnet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ControlNet's input is checked where it arrives: a sampler that blurs the map raises an error."""
    settings = GenerateSettings(
        base=str(base), controlnet=str(controlnet_folder), steps=1, resolution=128, device="cpu"
    )
    weights = find.find_controlnet(settings.controlnet)
    drawn = networks.Networks(sources.sources(settings), settings, ADE, weights)
    request = DrawRequest("a", write_map(tmp_path / "a.png", 1), "a room")
    received: list[torch.Tensor] = []
    drawn._controlnet.register_forward_pre_hook(
        lambda module, args, kwargs: received.append(kwargs["controlnet_cond"]), with_kwargs=True
    )
    drawn.draw([Subject(request, 0, 1.0, (160, 104))])

    assert received[0].shape == (2, 3, 104, 160)
    with Image.open(path_of(request.control_map)) as image:
        resized = image.resize((160, 104), Image.Resampling.NEAREST).convert("RGB")
    np.testing.assert_array_equal(np.rint(received[0][1].permute(1, 2, 0).numpy() * 255), np.asarray(resized))

    conditions = sampler._conditions

    def blurred(requests: Any, guided: bool) -> Any:
        hidden, control = conditions(requests, guided)
        return hidden, torch.nn.functional.avg_pool2d(control, 3, 1, 1)

    monkeypatch.setattr(sampler, "_conditions", blurred)
    with pytest.raises(MapError, match="pixels that the network sees are off the palette"):
        drawn.draw([Subject(request, 0, 1.0, (160, 104))])


def test_bf16_and_fp16_distinguish_all_levels() -> None:
    """The 256 levels of a channel remain distinct in 16-bit floating point."""
    levels = torch.arange(256, dtype=torch.float32) / 255
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal((levels.to(dtype).float() * 255).round().long(), torch.arange(256))


@given(st.integers(8, 5000), st.integers(8, 5000), st.sampled_from([0, 256, 512, 768]))
def test_sizes_keep_the_aspect_ratio(width: int, height: int, resolution: int) -> None:
    """Sizes are multiples of 8 with the requested area and the map's aspect ratio, up to rounding."""
    drawn_width, drawn_height = controls.size_for(width, height, resolution)
    assert (drawn_width % 8, drawn_height % 8) == (0, 0)
    if resolution and 1 / 3 < width / height < 3:
        assert abs(drawn_width * drawn_height / resolution**2 - 1) < 0.08
        assert abs(drawn_width / drawn_height / (width / height) - 1) < 0.08


def test_a_run_supplies_base_palette_and_prediction(
    base: Path, controlnet_folder: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """With a run as --controlnet, its base, palette and prediction type are used."""
    import shutil

    run = tmp_path / "run"
    shutil.copytree(controlnet_folder, run / "controlnet")
    runs.record(run, 7)
    (run / "run.toml").write_text(f"base = {json.dumps(str(base))}\nprediction = 'v_prediction'\n")
    (run / "palette.csv").write_text("index,name,r,g,b\n0,wall,10,20,30\n1,floor,200,100,50\n")
    palette = Palette.load(run / "palette.csv")
    (tmp_path / "map.png").write_bytes(codec.encode(np.eye(96, dtype=np.uint8), palette))

    arguments = ["generate", "--map", tmp_path / "map.png", "--prompt", "x", "--controlnet", run, "--resolution", 0]
    done = segkit(*arguments, "--steps", 1, "-o", tmp_path / "out")

    assert (done.code, done.err) == (0, "")
    assert f"ControlNet: {run}, step 7, the result of a finished run." in done.out
    with Image.open(tmp_path / "out" / "map-0.png") as picture:
        assert picture.size == (96, 96)
        assert json.loads(picture.info["segkit"])["palette_hash"] == palette.hash


@pytest.mark.parametrize("change", ["none", "class", "synonym"])
def test_another_palette_than_that_of_the_training_is_named(
    command: list[Any], controlnet_folder: Path, tmp_path: Path, segkit: Segkit, change: str
) -> None:
    """With the first class that differs, before anything is drawn; equal classes, or no --palette, need no warning."""
    run = Path(shutil.copytree(controlnet_folder, tmp_path / "run"))
    trained = extend.extended(ADE, ["solar panel"], "palette")
    (run / "palette.csv").write_bytes(extend.encode(trained))
    last = replace(trained[150], synonyms=("pv",)) if change == "synonym" else trained[150]
    now = ADE if change == "class" else Palette("now", (*ADE, last))
    (tmp_path / "now.csv").write_bytes(extend.encode(now))
    control_map = write_map(tmp_path / "map.png", 1)
    command[command.index(controlnet_folder)] = run

    drawn = segkit(*command, "--map", control_map, "--prompt", "a room", "--palette", tmp_path / "now.csv")

    warning = f"{run} was trained with another palette (151 classes) than {tmp_path / 'now.csv'} (150); they differ"
    assert drawn.code == 0
    assert (f"{warning} from class 150 on" in drawn.err) == (change == "class")
    assert bool(drawn.err) == (change == "class")
    assert sources.palette_note(GenerateSettings(controlnet=str(run))) == ""


def test_several_strengths_give_a_contact_sheet(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """A picture for each map, seed and strength, each as drawn alone; the sheet has a row for each map and seed."""
    for name, size in (("a", (150, 100)), ("b", (96, 96))):
        write_map(tmp_path / "maps" / f"{name}.png", 1, size)
    call = [*command, "--map", tmp_path / "maps", "--prompt", "a room", "--count", 2, "--strengths", "0,0.5,1.50"]
    alone = [*command[:-1], tmp_path / "alone", "--map", tmp_path / "maps" / "a.png", "--prompt", "a room"]

    drawn = segkit(*call, "--batch-size", 4, "--json")
    again = segkit(*call)
    weak = segkit(*alone, "--strength", 0.5, "--seed", 1)

    assert (drawn.code, again.code, weak.code) == (0, 0, 0)
    rows = json.loads(drawn.out)["pictures"]
    assert [(Path(row["map"]).stem, row["seed"], row["strength"]) for row in rows] == [
        (name, seed, strength) for name in "ab" for seed in (0, 1) for strength in (0.0, 0.5, 1.5)
    ]
    assert [Path(row["picture"]).name for row in rows[:3]] == [
        f"a-0-strength-{text}.png" for text in ("0", "0.5", "1.5")
    ]
    assert len({pixels(Path(row["picture"])) for row in rows}) == 12
    assert pixels(tmp_path / "alone" / "a-1.png") == pixels(tmp_path / "pictures" / "a-1-strength-0.5.png")
    sheet = tmp_path / "pictures" / "strengths.png"
    assert json.loads(drawn.out)["contact_sheet"] == str(sheet)
    assert "0 pictures drawn, 12 existed already" in again.out
    assert f"Contact sheet: {sheet}" in again.out
    with Image.open(sheet) as image:
        assert image.width == 4 * 208 + 8
        assert image.height > 4 * 200
        assert len(json.loads(image.info["segkit"])["contact_sheet"]) == 12


def test_a_foreign_contact_sheet_is_kept(command: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """A file named strengths.png that segkit did not write is replaced only with --overwrite."""
    call = [*command, "--map", write_map(tmp_path / "a.png", 1), "--prompt", "a room", "--strengths", "1"]
    sheet = tmp_path / "pictures" / "strengths.png"
    sheet.parent.mkdir()
    sheet.write_text("mine")

    refused = segkit(*call)

    assert refused.code == 2
    assert f"The contact sheet would replace {sheet}. Choose another output folder, or pass --overwrite" in refused.err
    assert [path.name for path in sheet.parent.iterdir()] == ["strengths.png"]
    assert sheet.read_text() == "mine"
    assert segkit(*call, "--overwrite").code == 0
    with Image.open(sheet) as image:
        assert image.size == (2 * 208 + 8, 29 + 267)


def test_a_long_contact_sheet_is_cut(
    command: list[Any], tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of rows that are shown is stated."""
    monkeypatch.setattr("trainer.sample.grid.ROWS", 1)
    call = [*command, "--map", write_map(tmp_path / "a.png", 1), "--prompt", "a room", "--count", 2]

    drawn = segkit(*call, "--strengths", "1", "--steps", 1)

    assert f"{tmp_path / 'pictures' / 'strengths.png'} (the first 1 of 2 rows)" in drawn.out
