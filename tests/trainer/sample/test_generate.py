"""segkit generate: pictures from control maps, through the real pipeline on small networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segkit.errors import MapError
from segkit.maps import codec
from segkit.palette import Palette
from tests.conftest import Segkit
from trainer.checkpoints import export, load
from trainer.sample import generate

ADE = Palette.load("ade20k")


@pytest.fixture(scope="module")
def steering(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet that changes what is drawn. Do not change it."""
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * 0.1)
    folder = tmp_path_factory.mktemp("steering") / "controlnet"
    export.write_folder(folder, model)
    return folder


def write_map(path: Path, seed: int, size: tuple[int, int] = (150, 100)) -> Path:
    """Write a control map of large areas."""
    areas = np.random.default_rng(seed).integers(0, 150, (4, 6), np.uint8)
    labels = np.asarray(Image.fromarray(areas).resize(size, Image.Resampling.NEAREST))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codec.encode(labels, ADE))
    return path


@pytest.fixture
def typed(base: Path, steering: Path, tmp_path: Path) -> list[Any]:
    """Return what is typed for small pictures."""
    options = ["--base", base, "--controlnet", steering, "--resolution", 128, "--steps", 2, "--device", "cpu"]
    return ["generate", *options, "-o", tmp_path / "pictures"]


def pixels(path: Path) -> bytes:
    """Return a picture's pixels."""
    with Image.open(path) as image:
        return image.tobytes()


def test_equal_seeds_give_equal_pictures(typed: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """Alone or among others; another seed, another map or another strength gives another picture."""
    write_map(tmp_path / "maps" / "a.png", 1)
    write_map(tmp_path / "maps" / "deep" / "b.png", 2)
    (tmp_path / "maps" / "a.txt").write_text("a room")
    alone = [*typed[:-1], tmp_path / "alone"]

    many = segkit(*typed, "--map", tmp_path / "maps", "--prompt", "a street", "--count", 2, "--json")
    one = segkit(*alone, "--map", tmp_path / "maps" / "deep" / "b.png", "--prompt", "a street", "--seed", 1)
    weak = segkit(
        *typed[:-1], tmp_path / "weak", "--map", tmp_path / "maps" / "a.png", "--prompt", "a room", "--strength", 0
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


def test_a_stopped_run_draws_what_is_missing(typed: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """What is there and was drawn so is kept; what is something else is not written over unasked."""
    call = [*typed, "--map", write_map(tmp_path / "a.png", 1), "--prompt", "a room", "--count", 3]
    assert segkit(*call).code == 0
    first = [path.read_bytes() for path in sorted((tmp_path / "pictures").iterdir())]
    (tmp_path / "pictures" / "a-1.png").unlink()

    again = segkit(*call, "--json")
    other = segkit(*call, "--guidance", 3)
    (tmp_path / "pictures" / "a-2.png").write_text("mine")
    mine = segkit(*call)

    assert [row["kept"] for row in json.loads(again.out)["pictures"]] == [True, False, True]
    assert other.code == mine.code == 2
    assert "3 of 3 pictures would replace others" in other.err
    assert "1 of 3 pictures would replace others" in mine.err
    assert (tmp_path / "pictures" / "a-2.png").read_text() == "mine"
    assert segkit(*call, "--overwrite").code == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "pictures").iterdir())] == first


def test_mistakes_are_told_in_one_line(typed: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """A blurred map, none, no prompt, two maps of one name; nothing is drawn."""
    blurred = Image.open(write_map(tmp_path / "a.png", 1)).convert("RGB").resize((75, 50))
    blurred.save(tmp_path / "blurred.png")
    write_map(tmp_path / "twins" / "a.png", 1)
    write_map(tmp_path / "twins" / "a.PNG", 1)
    told = {
        "pixels are off the palette ade20k. Mend it: segkit snap": ["--map", tmp_path / "blurred.png", "--prompt", "x"],
        "does not exist": ["--map", tmp_path / "nothing.png", "--prompt", "x"],
        'has no prompt. Type --prompt "..."': ["--map", tmp_path / "a.png"],
        "would give pictures of one name": ["--map", tmp_path / "twins", "--prompt", "x"],
        "--steps 0: expected 1 or more": ["--map", tmp_path / "a.png", "--prompt", "x", "--steps", 0],
    }
    for words, flags in told.items():
        done = segkit(*typed, *flags)
        assert (done.code, words in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert not (tmp_path / "pictures").exists()


def test_a_prompt_that_is_too_long_is_told(typed: list[Any], tmp_path: Path, segkit: Segkit) -> None:
    """CLIP hears 77 tokens; the rest is not dropped in silence."""
    done = segkit(*typed, "--map", write_map(tmp_path / "a.png", 1), "--prompt", "word " * 90)
    assert done.code == 0
    assert "1 prompts are longer than CLIP reads" in done.out


def test_the_network_sees_palette_colours_alone(typed: list[Any], base: Path, steering: Path, tmp_path: Path) -> None:
    """What reaches the ControlNet is looked at there: a pipeline that blurs the map is found out."""
    from trainer.sample.requests import DrawRequest
    from trainer.settings import GenerateSettings

    how = GenerateSettings(base=str(base), controlnet=str(steering), steps=1, resolution=128, device="cpu")
    artist = generate._Artist(generate.sources(how), how, ADE)
    scene = DrawRequest("a", write_map(tmp_path / "a.png", 1), "a room")
    seen: list[torch.Tensor] = []
    artist._pipeline.controlnet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["controlnet_cond"]), with_kwargs=True
    )
    artist.draw(scene, 0, (160, 104))

    assert seen[0].shape == (2, 3, 104, 160)
    with Image.open(scene.control_map) as image:
        sized = image.resize((160, 104), Image.Resampling.NEAREST).convert("RGB")
    np.testing.assert_array_equal(np.rint(seen[0][1].permute(1, 2, 0).numpy() * 255), np.asarray(sized))

    exact = artist._pipeline.prepare_image
    artist._pipeline.prepare_image = lambda **given: torch.nn.functional.avg_pool2d(exact(**given), 3, 1, 1)
    with pytest.raises(MapError, match="pixels that the network sees are off the palette"):
        artist.draw(scene, 0, (160, 104))


def test_every_class_can_be_told_apart_in_bf16_and_fp16() -> None:
    """Rounded to eight bits of mantissa, each of the 256 levels of a channel is still one of its own."""
    levels = torch.arange(256, dtype=torch.float32) / 255
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal((levels.to(dtype).float() * 255).round().long(), torch.arange(256))


@given(st.integers(8, 5000), st.integers(8, 5000), st.sampled_from([0, 256, 512, 768]))
def test_sizes_keep_the_shape(width: int, height: int, resolution: int) -> None:
    """Multiples of 8, as many pixels as asked for, the map's shape to within the rounding."""
    across, down = generate.size_for(width, height, resolution)
    assert (across % 8, down % 8) == (0, 0)
    if resolution and 1 / 3 < width / height < 3:
        assert abs(across * down / resolution**2 - 1) < 0.08
        assert abs(across / down / (width / height) - 1) < 0.08


def test_a_run_brings_its_base_palette_and_prediction(
    base: Path, steering: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Nothing but the run need be named."""
    import shutil

    run = tmp_path / "run"
    shutil.copytree(steering, run / "controlnet")
    (run / "run.toml").write_text(f"base = {json.dumps(str(base))}\nprediction = 'v_prediction'\n")
    (run / "palette.csv").write_text("index,name,r,g,b\n0,wall,10,20,30\n1,floor,200,100,50\n")
    table = Palette.load(run / "palette.csv")
    (tmp_path / "map.png").write_bytes(codec.encode(np.eye(96, dtype=np.uint8), table))

    call = ["generate", "--map", tmp_path / "map.png", "--prompt", "x", "--controlnet", run, "--resolution", 0]
    done = segkit(*call, "--steps", 1, "-o", tmp_path / "out")

    assert (done.code, done.err) == (0, "")
    with Image.open(tmp_path / "out" / "map-0.png") as picture:
        assert picture.size == (96, 96)
        assert json.loads(picture.info["segkit"])["palette_hash"] == table.hash
