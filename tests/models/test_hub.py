"""models.hub: where a model is found, and damaged or missing ones told in one line."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from segkit.errors import ModelError
from segkit.models import hub
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from tests.models import families


class _Attack:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good model. Do not change it."""
    with hub.quiet():
        return families.write(tmp_path_factory.mktemp("whole"), "segformer")


def no_config(folder: Path) -> None:
    """Take config.json away."""
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    """Take the weights away."""
    (folder / "model.safetensors").unlink()


def no_processor(folder: Path) -> None:
    """Take the processor away."""
    (folder / "preprocessor_config.json").unlink()


def broken_config(folder: Path) -> None:
    """Cut config.json."""
    (folder / "config.json").write_text("{")


def truncated(folder: Path) -> None:
    """Cut the weights' file."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def empty_weights(folder: Path) -> None:
    """Empty the weights' file."""
    (folder / "model.safetensors").write_bytes(b"")


def lacking(folder: Path) -> None:
    """Take one weight out."""
    weights = load_file(folder / "model.safetensors")
    save_file({name: weights[name] for name in sorted(weights)[1:]}, folder / "model.safetensors", {"format": "pt"})


def with_nan(folder: Path) -> None:
    """Make one weight NaN."""
    weights = load_file(folder / "model.safetensors")
    weights[min(weights)][0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def other_shape(folder: Path) -> None:
    """Make the config another network's."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "decoder_hidden_size": 24}))


def unknown_type(folder: Path) -> None:
    """Name an architecture that nobody knows."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "segmenter9000"}))


def not_segmenting(folder: Path) -> None:
    """Make it a language model."""
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_config, "no config.json in it"),
        (no_weights, "no weights in it"),
        (no_processor, "its processor cannot be loaded"),
        (broken_config, "config.json cannot be used"),
        (truncated, "cannot be loaded"),
        (empty_weights, "cannot be loaded"),
        (lacking, "1 weights are missing"),
        (with_nan, "1 weights are NaN or infinite"),
        (other_shape, "cannot be loaded|weights are missing"),
        (unknown_type, "config.json cannot be used.*segmenter9000"),
        (not_segmenting, "a gpt2 model does not segment"),
    ],
)
def test_damaged_models_are_refused(whole: Path, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    """Each damage is told in one line that names option and folder; nothing is filled with noise."""
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    damage(folder)

    with pytest.raises(ModelError, match=message) as refused:
        NeuralSegmenter(str(folder), families.TWELVE, Device("cpu", "fp32"))

    assert str(refused.value).startswith(f"--segmenter {folder}: ")
    assert "\n" not in str(refused.value)


def test_pickled_code_does_not_run(whole: Path, tmp_path: Path) -> None:
    """A pytorch_model.bin with code in it is refused, and the code stays unrun."""
    folder, trace = tmp_path / "model", tmp_path / "trace"
    shutil.copytree(whole, folder)
    no_weights(folder)
    torch.save({"weight": _Attack(trace)}, folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="cannot be loaded"):
        NeuralSegmenter(str(folder), families.TWELVE, Device("cpu", "fp32"))

    assert not trace.exists()
    assert pickle.loads(pickle.dumps(_Attack(trace))) is None
    assert trace.exists()  # it would have run elsewhere


def test_bin_weights_load(whole: Path, tmp_path: Path) -> None:
    """A checkpoint in the old format without code in it loads."""
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    no_weights(folder)

    segmenter = NeuralSegmenter(str(folder), families.TWELVE, Device("cpu", "fp32"))

    assert segmenter.parameters > 1000


@pytest.mark.parametrize("name", ["nothing-here", "./a/b", "/a", "one/two/three"])
def test_names_that_are_no_model(name: str) -> None:
    """A name that is neither folder nor hub id is answered with the short names."""
    with pytest.raises(ModelError, match=r"no such folder.*oneformer-tiny"):
        hub.locate(name, "--segmenter")


def test_the_revision_follows_the_files(whole: Path, tmp_path: Path) -> None:
    """A plain folder's revision is a hash of its files, wherever it lies."""
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    before = hub.locate(str(copy), "--segmenter").revision

    (copy / "model.safetensors").touch()
    same = hub.locate(str(copy), "--segmenter").revision
    with_nan(copy)
    changed = hub.locate(str(copy), "--segmenter").revision

    assert before == same == hub.locate(str(whole), "--segmenter").revision
    assert changed != before


def python(program: str, **environment: str) -> str:
    """Run a program in a fresh interpreter and return what it prints; only what is given of HF_ variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("how", ["offline", "a proxy that refuses", "an address that refuses"])
def test_without_network_the_way_out_is_told(how: str, tmp_path: Path) -> None:
    """Missing weights without a network: what to download, where to put it, and the demo; not half a minute later."""
    environment = {
        "offline": {"HF_HUB_OFFLINE": "1"},
        "a proxy that refuses": {"HTTPS_PROXY": "http://127.0.0.1:9"},
        "an address that refuses": {"HF_ENDPOINT": "http://127.0.0.1:9"},
    }[how]
    program = (
        "import time\nfrom segkit.models import hub\nslept = []\ntime.sleep = slept.append\n"
        "try: hub.locate('oneformer-tiny', '--segmenter')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "assert sum(slept) < 15"
    )

    said = python(program, HF_HOME=str(tmp_path), **environment)

    assert said.startswith("ModelError --segmenter shi-labs/oneformer_ade20k_swin_tiny is not on this machine")
    assert "hf download shi-labs/oneformer_ade20k_swin_tiny --local-dir oneformer_ade20k_swin_tiny" in said
    assert "--segmenter oneformer_ade20k_swin_tiny" in said
    assert said.endswith("segkit demo")


def test_a_hanging_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub counts as silent when nothing comes back in time, whatever hangs."""
    import huggingface_hub
    from huggingface_hub import constants

    class Hanging:
        def head(self, *_: object, **__: object) -> None:
            threading.Event().wait(60)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Hanging)

    assert not hub.hub_answers(timeout=-0.9)


def test_the_cache_is_used(whole: Path, tmp_path: Path) -> None:
    """A model in the Hugging Face cache is found without a network; its revision is the hub's commit."""
    place = tmp_path / "hub" / "models--shi-labs--oneformer_ade20k_swin_tiny"
    shutil.copytree(whole, place / "snapshots" / ("c" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("c" * 40)
    program = "from segkit.models import hub; print(hub.locate('oneformer-tiny', '--segmenter'))"

    said = python(program, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")

    assert "name='shi-labs/oneformer_ade20k_swin_tiny'" in said
    assert f"revision='{'c' * 40}'" in said


@pytest.mark.parametrize("entry", ["hub.locate('blip-base', '--captioner')", "tokens.counter({clip!r})"])
def test_a_broken_torchvision_is_told_in_words(entry: str, tmp_path: Path) -> None:
    """A torchvision that cannot be imported breaks transformers; the cure is told."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    call = entry.format(clip=str(tmp_path))
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"from segkit.models import hub, tokens\ntry: {call}\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    said = python(program, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")

    assert said.startswith("ModelError torchvision is installed but broken (operator torchvision::nms does not exist)")
    assert said.endswith("pip uninstall torchvision")


@pytest.mark.parametrize("option", ["--segmenter", "--captioner"])
def test_toy_is_the_shipped_network_of_its_option(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name stands for files in the package, even where a folder is called so; ./toy is the folder."""
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)

    source = hub.locate("toy", option)

    assert source.name == "toy"
    assert source.folder == hub.toy_folder() / option.removeprefix("--")
    assert source.revision.startswith("sha256:")
    with pytest.raises(ModelError, match=r"no config\.json"):
        hub.locate("./toy", option)


def test_an_installation_without_the_toy_networks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing files of the package are named, and how to make them."""
    monkeypatch.setattr(hub, "toy_folder", lambda: tmp_path)

    with pytest.raises(ModelError, match=r"python -m segkit\.toy\.learn"):
        hub.find("toy", "--captioner")
