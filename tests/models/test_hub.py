"""models.hub: models are found, and damaged or missing ones are reported in one line."""

import hashlib
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
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid model. Do not change it."""
    with hub.quiet():
        return families.write(tmp_path_factory.mktemp("intact"), "segformer")


def no_config(folder: Path) -> None:
    """Delete config.json."""
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    """Delete the weights."""
    (folder / "model.safetensors").unlink()


def no_processor(folder: Path) -> None:
    """Delete the processor."""
    (folder / "preprocessor_config.json").unlink()


def broken_config(folder: Path) -> None:
    """Truncate config.json."""
    (folder / "config.json").write_text("{")


def truncated(folder: Path) -> None:
    """Truncate the weights."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def empty_weights(folder: Path) -> None:
    """Empty the weights."""
    (folder / "model.safetensors").write_bytes(b"")


def lacking(folder: Path) -> None:
    """Remove one weight."""
    weights = load_file(folder / "model.safetensors")
    save_file({name: weights[name] for name in sorted(weights)[1:]}, folder / "model.safetensors", {"format": "pt"})


def with_nan(folder: Path) -> None:
    """Set part of one weight to NaN."""
    weights = load_file(folder / "model.safetensors")
    weights[min(weights)][0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def other_shape(folder: Path) -> None:
    """Let the configuration differ from the weights."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "decoder_hidden_size": 24}))


def unknown_type(folder: Path) -> None:
    """Name an unknown architecture."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "segmenter9000"}))


def not_segmenting(folder: Path) -> None:
    """Turn it into a language model."""
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}))


def remote_code(folder: Path) -> None:
    """Turn it into a model that consists of code of its own."""
    config = {"model_type": "segmenter9000", "auto_map": {"AutoConfig": "config.Config"}}
    (folder / "config.json").write_text(json.dumps(config))


def test_the_hash_of_the_weights_is_that_of_their_file(intact: Path, tmp_path: Path) -> None:
    """It stays if a configuration changes; of several files it is the hash of their hashes."""
    folder = shutil.copytree(intact, tmp_path / "model")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).digest()
    one = hub.locate(str(folder), "segmenter")
    (folder / "other.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not loaded beside safetensors")
    changed = hub.locate(str(folder), "segmenter")
    shutil.copy(folder / "model.safetensors", folder / "model-2.safetensors")
    two = hub.locate(str(folder), "segmenter")

    assert one.weights == changed.weights == digest.hex()
    assert one.revision != changed.revision
    assert two.weights == hashlib.sha256(digest * 2).hexdigest()


def test_the_hub_names_its_blobs_by_their_hash(tmp_path: Path) -> None:
    """Gigabytes are not read again where a snapshot links to a blob; any other link is followed."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0" / "x"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / ("ab" * 32)).write_bytes(b"weights")
    (tmp_path / ("cd" * 32)).write_bytes(b"weights")
    (snapshot / "blob.safetensors").symlink_to(blobs / ("ab" * 32))
    (snapshot / "link.safetensors").symlink_to(tmp_path / ("cd" * 32))

    assert hub._file_hash(snapshot / "blob.safetensors").hex() == "ab" * 32
    assert hub._file_hash(snapshot / "link.safetensors") == hashlib.sha256(b"weights").digest()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_config, r"config\.json is missing"),
        (no_weights, "weights? (is|are) missing"),
        (no_processor, "the processor cannot be loaded"),
        (broken_config, "config.json cannot be used"),
        (truncated, "cannot be loaded"),
        (empty_weights, "cannot be loaded"),
        (lacking, "1 weight is missing"),
        (with_nan, "1 weight is NaN or infinite"),
        (other_shape, "cannot be loaded|weights? (is|are) missing"),
        (unknown_type, "config.json cannot be used.*segmenter9000"),
        (not_segmenting, "a model of type gpt2 does not segment"),
        (remote_code, r"needs remote code, which segkit never runs\. Use oneformer-large"),
    ],
)
def test_damaged_models_are_refused(intact: Path, tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    """Every kind of damage is reported in one line that names role and folder; no weights are made up."""
    folder = tmp_path / "model"
    shutil.copytree(intact, folder)
    damage(folder)

    with pytest.raises(ModelError, match=message) as refused:
        NeuralSegmenter(str(folder), families.TWELVE, Device("cpu", "fp32"))

    assert str(refused.value).startswith(f"segmenter {folder}: ")
    assert "\n" not in str(refused.value)


def test_pickled_code_does_not_run(intact: Path, tmp_path: Path) -> None:
    """A pytorch_model.bin that contains code is refused, and the code is not run."""
    folder, trace = tmp_path / "model", tmp_path / "trace"
    shutil.copytree(intact, folder)
    no_weights(folder)
    torch.save({"weight": _Attack(trace)}, folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="cannot be loaded"):
        NeuralSegmenter(str(folder), families.TWELVE, Device("cpu", "fp32"))

    assert not trace.exists()
    assert pickle.loads(pickle.dumps(_Attack(trace))) is None
    assert trace.exists()  # the attack works with plain pickle


def test_bin_weights_load(intact: Path, tmp_path: Path) -> None:
    """A harmless checkpoint in the old format loads."""
    folder = tmp_path / "model"
    shutil.copytree(intact, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    no_weights(folder)

    segmenter = NeuralSegmenter(str(folder), families.TWELVE, Device("cpu", "fp32"))

    assert segmenter.parameters > 1000


@pytest.mark.parametrize("name", ["nothing-here", "./a/b", "/a", "one/two/three"])
def test_names_that_are_not_a_model(name: str) -> None:
    """For a name that is neither a folder nor a hub id, the message lists the short names of the role."""
    with pytest.raises(ModelError, match=r"no such folder.*oneformer-tiny"):
        hub.locate(name, "segmenter")


def test_a_message_lists_toy_networks_of_its_role_alone() -> None:
    """Segmenters have two, captioners one, CLIPs none."""
    toys = {"segmenter": "one of: toy, toy-judge, one", "captioner": "one of: toy, blip", "clip": "one of: clip-base, "}
    for role, expected in toys.items():
        with pytest.raises(ModelError, match=expected):
            hub.find("nope", role)


def test_the_revision_follows_the_files(intact: Path, tmp_path: Path) -> None:
    """A plain folder's revision is a hash of its files and independent of its path."""
    copy = tmp_path / "copy"
    shutil.copytree(intact, copy)
    before = hub.locate(str(copy), "segmenter").revision

    (copy / "model.safetensors").touch()
    same = hub.locate(str(copy), "segmenter").revision
    with_nan(copy)
    changed = hub.locate(str(copy), "segmenter").revision

    assert before == same == hub.locate(str(intact), "segmenter").revision
    assert changed != before


def python(program: str, **environment: str) -> str:
    """Run a program in a new interpreter, with the HF_ variables passed here and no others, and return its output."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("how", ["offline", "a proxy that refuses", "an address that refuses"])
def test_without_network_the_message_says_what_to_download(how: str, tmp_path: Path) -> None:
    """Without weights and network, the message names the download, the option and the demo, and comes soon."""
    environment = {
        "offline": {"HF_HUB_OFFLINE": "1"},
        "a proxy that refuses": {"HTTPS_PROXY": "http://127.0.0.1:9"},
        "an address that refuses": {"HF_ENDPOINT": "http://127.0.0.1:9"},
    }[how]
    program = (
        "import time\nfrom segkit.models import hub\nslept = []\ntime.sleep = slept.append\n"
        "try: hub.locate('oneformer-tiny', 'segmenter')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "assert sum(slept) < 15"
    )

    output = python(program, HF_HOME=str(tmp_path), **environment)

    assert output.startswith("ModelError segmenter shi-labs/oneformer_ade20k_swin_tiny is not on this machine")
    assert "hf download shi-labs/oneformer_ade20k_swin_tiny --local-dir oneformer_ade20k_swin_tiny" in output
    assert "pass segmenter=oneformer_ade20k_swin_tiny" in output
    assert output.endswith("segkit demo")


def test_a_hanging_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub counts as unreachable when it does not answer in time, whichever step hangs."""
    import huggingface_hub
    from huggingface_hub import constants

    class Hanging:
        def head(self, *_: object, **__: object) -> None:
            threading.Event().wait(60)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Hanging)

    assert not hub.hub_answers(timeout=-0.9)


def test_the_cache_is_used(intact: Path, tmp_path: Path) -> None:
    """A model in the Hugging Face cache is found without network; its revision is the hub's commit."""
    cache = tmp_path / "hub" / "models--shi-labs--oneformer_ade20k_swin_tiny"
    shutil.copytree(intact, cache / "snapshots" / ("c" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("c" * 40)
    program = "from segkit.models import hub; print(hub.locate('oneformer-tiny', 'segmenter'))"

    output = python(program, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")

    assert "name='shi-labs/oneformer_ade20k_swin_tiny'" in output
    assert f"revision='{'c' * 40}'" in output


@pytest.mark.parametrize("entry", ["hub.locate('blip-base', 'captioner')", "tokens.counter({clip!r})"])
def test_a_broken_torchvision_is_reported(entry: str, tmp_path: Path) -> None:
    """If torchvision cannot be imported, which breaks transformers, the message says how to fix it."""
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

    output = python(program, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")

    assert output.startswith(
        "ModelError torchvision is installed but broken (operator torchvision::nms does not exist)"
    )
    assert output.endswith("pip uninstall torchvision")


@pytest.mark.parametrize("role", ["segmenter", "captioner"])
def test_toy_is_the_shipped_network_of_its_role(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name "toy" refers to the shipped files, even beside a folder of that name; "./toy" is the folder."""
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)

    source = hub.locate("toy", role)

    assert source.name == "toy"
    assert source.folder == hub.toy_folder() / role
    assert source.revision.startswith("sha256:")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        hub.locate("./toy", role)


def test_an_installation_without_the_toy_networks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the missing files and the command that trains the networks."""
    monkeypatch.setattr(hub, "toy_folder", lambda: tmp_path)

    with pytest.raises(ModelError, match=r"python -m segkit\.toy\.learn"):
        hub.find("toy", "captioner")
    with pytest.raises(ModelError, match=r"base toy-sdxl: .*pass base=toy-weights/base-sdxl"):
        hub.shipped("base", "toy-sdxl")
