"""README and guides: their examples run on the toy world, their links resolve, and nothing is undocumented.

`sh` and `python` fences run in a temporary folder that holds the files of the fixture `workspace`; lines of `sh` fences
that do not begin with `segkit` are skipped. Fences marked `no-run` need the network or a full-size model and are only
parsed. Released models are replaced by the toy ones, and long trainings are shortened.
"""

import itertools
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from segkit import cli
from tests.conftest import Segkit

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
TEXT = {page: (ROOT / page).read_text("utf-8") for page in PAGES}
COMMANDS = cli.commands()

GUIDES = {
    "build-dataset": "docs/build.md",
    "import": "docs/data.md",
    "check": "docs/build.md",
    "review": "docs/review.md",
    "relabel": "docs/relabel.md",
    "remove": "docs/build.md",
    "subset": "docs/build.md",
    "caption": "docs/prompts.md",
    "check-palette": "docs/palette.md",
    "snap": "docs/palette.md",
    "train": "docs/train.md",
    "generate": "docs/generate-and-export.md",
    "evaluate": "docs/evaluate.md",
    "export": "docs/data.md",
    "inspect": "docs/generate-and-export.md",
    "demo": "docs/testing.md",
}
"""The guide that documents each command."""

SHORTER = {
    "steps=500": "steps=2, preview_every=0",
    "seed=0": "seed=0, steps=2",
    "--steps 500": "--steps 2 --preview-every 0",
    "segkit generate": "segkit generate --steps 2",
    "segkit evaluate": "segkit evaluate --steps 2",
    "segkit demo": "segkit demo --photos 2",
}
"""Long work is cut short: a text in an example, and what is run in its place."""

RELEASED = {
    "shi-labs/oneformer_ade20k_swin_large": "segmenter",
    "facebook/mask2former-swin-large-ade-semantic": "segmenter",
    "Salesforce/blip-image-captioning-base": "captioner",
    "Salesforce/blip-image-captioning-large": "captioner",
}
"""Hub ids in the examples, and the toy networks that replace them."""

SPLITS = {"kitchen": "train", "bedroom": "train", "street": "val", "hall": "train", "bath": "train", "yard": "train"}
"""Photos of the examples, and the splits that they fall into."""

FINDINGS = {"check-palette"}
"""Commands whose exit code 1, findings, is what the examples show."""

BLANK = ("README.md", "docs/python.md")
"""Pages whose Python session starts with the inputs only and builds the rest itself."""


@dataclass(frozen=True)
class Fence:
    """A fenced block: its page, first line, language and info ("no-run" or ""), and text."""

    page: str
    line: int
    language: str
    info: str
    text: str


def _fences(page: str) -> list[Fence]:
    pattern = re.compile(r"^```(\w*)[ ]*(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
    text = TEXT[page]
    return [Fence(page, text.count("\n", 0, m.start()) + 1, m[1], m[2], m[3]) for m in pattern.finditer(text)]


def _typed(text: str) -> list[list[str]]:
    """Return the segkit commands of a shell example as words, without `segkit`."""
    lines = [line.strip().removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("segkit ")]


FENCES = [fence for page in PAGES for fence in _fences(page)]
SHELL = [fence for fence in FENCES if fence.language == "sh"]
INDENTED = [
    Fence(page, number, "sh", "no-run", line)
    for page in PAGES
    for number, line in enumerate(TEXT[page].splitlines(), 1)
    if line.startswith("    segkit ")
]


def _id(fence: Fence) -> str:
    return f"{fence.page}:{fence.line}"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has before segkit runs: photos, maps of other tools, tables. Do not change it."""
    from segkit import storage
    from segkit.dataset import splits
    from segkit.dataset.triple import key_of
    from segkit.palette import Palette, extend
    from segkit.toy import world
    from segkit.toy.world import damage

    folder = tmp_path_factory.mktemp("inputs")
    for name in ("photos", "foreign"):
        (folder / name).mkdir()
    photos = (world.jpeg(world.scene(seed, (384, 384)).photo) for seed in itertools.count())
    for name, split in SPLITS.items():
        # Splits are drawn in the order of a hash of the photos' bytes; the examples rely on the photo that is held out.
        is_first = split == "val"
        photo = next(data for data in photos if (splits.position(key_of(storage.sha256(data))) < 0.1) == is_first)
        (folder / "photos" / f"{name}.jpg").write_bytes(photo)
    labels = world.scene(7, (128, 128)).labels
    damage.by("bgr", labels).save(folder / "foreign.png")
    damage.by("bgr", labels).save(folder / "foreign" / "bgr.png")
    damage.painted(labels).save(folder / "foreign" / "jpeg.jpg", quality=75)
    mine = extend.extended(Palette.load("ade20k"), ["solar panel"], "mine")
    (folder / "mine.csv").write_bytes(extend.encode(mine))
    (folder / "house.csv").write_text("index,name,r,g,b\n0,porch,1,2,3\n1,attic,250,90,3\n")
    (folder / "build.toml").write_text(next(fence.text for fence in FENCES if fence.info == "build"))
    (folder / "prompts.csv").write_text('source,text\nstreet.jpg,"a quiet street"\n')
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the toy networks into the Hugging Face cache under the ids of released ones."""
    from huggingface_hub import constants

    from segkit.models import hub

    folders = []
    for number, (hub_id, name) in enumerate(RELEASED.items()):
        folder = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
        commit = f"{number:040x}"
        shutil.copytree(hub.toy_folder() / name, folder / "snapshots" / commit)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(commit)
        folders.append(folder)
    yield
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def workspace(inputs: Path, released: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs, and what a user has later: a dataset, a run, maps with prompts, model folders. Do not change it."""
    import segkit
    from segkit.models import hub
    from segkit.toy.learn import networks

    folder = tmp_path_factory.mktemp("workspace") / "workspace"
    shutil.copytree(inputs, folder)
    rooms = segkit.build_dataset(folder / "photos", folder / "rooms", split="val=0.1")
    segkit.train(
        rooms, folder / "rooms-run", base="toy", controlnet="fresh", steps=2, batch_size=1, resolution=64,
        evaluate_every=0, preview_every=0,
    )  # fmt: skip
    (folder / "maps").mkdir()
    for name, triple in zip(("one", "two"), rooms[:2], strict=True):
        triple.control_map.save(folder / "maps" / f"{name}.png")
        (folder / "maps" / f"{name}.txt").write_text(triple.text)
    shutil.copy(folder / "maps" / "one.png", folder / "map.png")
    kitchen = next(triple for triple in rooms if triple.source == "kitchen.jpg").control_map.convert("RGB")
    kitchen.paste(rooms.info.palette.find("chair").rgb, (40, 40, 90, 120))
    (folder / "painted").mkdir()
    for path in (folder / "kitchen.png", folder / "painted" / "kitchen.png"):
        kitchen.save(path)
    with tarfile.open(folder / "000000.tar", "w") as shard:
        shard.add(folder / "map.png", "one.hint.png")
    with hub.quiet():
        networks.write_clip_tokenizer(folder / "tokenizer")
    (folder / "models").mkdir()
    (folder / "models" / "oneformer").symlink_to(hub.toy_folder() / "segmenter")
    (folder / "models" / "blip").symlink_to(hub.toy_folder() / "captioner")
    (folder / "deliberate").symlink_to(hub.toy_folder() / "base")
    return folder


@pytest.mark.parametrize("fence", [fence for fence in SHELL if not fence.info], ids=_id)
def test_a_shell_example_runs(
    fence: Fence, workspace: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command ends with exit code 0, or 1 where it reports findings."""
    shutil.copytree(workspace, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    text = fence.text
    for long, short in SHORTER.items():
        text = text.replace(long, short)

    for words in _typed(text):
        result = segkit(*words)
        allowed = (0, 1) if words[0] in FINDINGS else (0,)
        assert result.code in allowed, f"segkit {shlex.join(words)}\n{result.out}\n{result.err}"


@pytest.mark.parametrize("page", sorted({fence.page for fence in FENCES if fence.language == "python"}))
def test_the_python_examples_of_a_page_run(
    page: str, inputs: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The fences of a page are one session, and segkit prints nothing in it."""
    shutil.copytree(inputs if page in BLANK else workspace, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    namespace: dict[str, Any] = {}
    capsys.readouterr()

    for fence in _fences(page):
        if fence.language == "python":
            text = "\n" * fence.line + fence.text  # so that tracebacks show the page's line
            for long, short in SHORTER.items():
                text = text.replace(long, short)
            code = compile(text, page, "exec")
            if not fence.info:
                exec(code, namespace)

    assert not capsys.readouterr().out


@pytest.mark.parametrize("fence", [*SHELL, *INDENTED], ids=_id)
def test_an_example_parses(fence: Fence) -> None:
    """Each command exists, and accepts its options and their values; nothing is run."""
    assert fence.info in ("", "no-run")
    for words in _typed(fence.text):
        assert words[0] in COMMANDS
        COMMANDS[words[0]].make_context(words[0], words[1:]).close()


def test_fences_have_known_languages() -> None:
    """A misspelt fence would silently not be run; segkit commands are in `sh` fences."""
    assert {fence.language for fence in FENCES} <= {"", "sh", "python", "toml", "bash", "yaml"}
    assert not [_id(fence) for fence in FENCES if fence.language != "sh" and _typed(fence.text)]
    assert all(TEXT[page].count("```") == 2 * len(_fences(page)) for page in PAGES)


def test_toml_examples_are_configurations(tmp_path: Path) -> None:
    """A run.toml or build.toml in a guide names options that exist, with values of their types."""
    from segkit.build import settings as build_settings
    from trainer import settings

    examples = [fence for fence in FENCES if fence.language == "toml"]

    assert examples
    for fence in examples:
        (tmp_path / "run.toml").write_text(fence.text)
        assert (build_settings if fence.info == "build" else settings).read(tmp_path / "run.toml")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    """A command's guide shows the command at work; its guide or the pages that it links to name every option."""
    guide = TEXT[GUIDES[name]]
    shown = "\n".join(fence.text for fence in _fences(GUIDES[name]))
    options = [param for param in COMMANDS[name].params if isinstance(param, click.Option) and not param.hidden]
    names = [option for param in options for option in (*param.opts, *param.secondary_opts) if option.startswith("--")]
    docs = "\n".join(text for page, text in TEXT.items() if page.startswith("docs/"))

    assert re.search(rf"^segkit {name}\b", shown, re.MULTILINE)
    common = {"--json", "--verbose", "--help", "--log", "--threads"}
    assert [option for option in names if not _names(guide if option not in common else docs, option)] == []


def _names(text: str, option: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){option}(?![\w-])", text))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_resolves(page: str) -> None:
    """Relative links lead to files in the repository, and their fragments to headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT[page]):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if fragment:
            assert fragment in _anchors(path.read_text("utf-8")), target


def _anchors(text: str) -> set[str]:
    """Return the fragments that GitHub gives the headings of a page."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_api_is_documented() -> None:
    """docs/python.md names every public name of the package."""
    import segkit

    assert [name for name in segkit.__all__ if not re.search(rf"\b{name}\b", TEXT["docs/python.md"])] == []


def test_notebooks_are_linked() -> None:
    """The README links each notebook."""
    notebooks = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))

    assert notebooks
    assert [name for name in notebooks if f"notebooks/{name}" not in TEXT["README.md"]] == []


def test_the_readme_is_short() -> None:
    """The README is an overview of at most 150 lines; details are in the guides."""
    assert len(TEXT["README.md"].splitlines()) <= 150
