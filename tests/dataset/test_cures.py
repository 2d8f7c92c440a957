"""The cure of every rule of segkit check is followed, and works without losing a word that a person wrote."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, checks
from segkit.problem import Problem
from tests.conftest import Segkit
from tests.dataset.test_checks import BROKEN, Break, damage
from tests.dataset.test_dataset import build, render, written

NOT_FOLLOWED = {"palette-differs"}
"""Rules whose cure is a copy that only the user has."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six triples with prompts, decisions and a column by a person. Do not change it."""
    folder = tmp_path_factory.mktemp("cures")
    dataset = build(render(folder / "photos", 6), folder / "out")
    dataset.replace_all(
        replace(written(triple, f"my words {number}"), extra='{"stars": 5}')
        for number, triple in enumerate(dataset.triples())
    )
    return folder / "out"


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    """A copy of the clean dataset that a test may damage."""
    return Path(shutil.copytree(clean, tmp_path / "copy"))


def follow(problem: Problem, folder: Path, photos: Path, segkit: Segkit) -> None:
    """Do what a cure says: run its command, write into a line, move files, or build again."""
    cure = problem.cure
    if command := re.search(r": (segkit caption .+ --edit .+)", cure):
        words = shlex.split(command[1])
        assert segkit(*words[1:]).code == 0
        return
    if values := re.search(r'Write "(\w+)": "(\w+)" into its line', cure):
        change_line(folder, problem.place, values[1], values[2])
        return
    if cure.startswith("Remove that line from"):
        (folder / ".segkit" / "rejected.jsonl").write_text("")
        return
    if cure.startswith("Correct that line"):
        move_line_out(folder, problem)
    for name in re.findall(r"(?:images|maps)/\w\w/\w{16}\.\w{3}", cure):
        (folder / name).unlink(missing_ok=True)
    if cure.startswith("Move it out"):
        (folder / problem.place).rename(folder.parent / "moved")
    if re.search("run segkit build-dataset again|segkit build-dataset PHOTOS", cure, re.IGNORECASE):
        build(photos, folder)
    else:
        assert cure.startswith("Move it out"), cure


def change_line(folder: Path, key: str, name: str, value: str) -> None:
    """Change a value of a triple in the manifest, as a text editor would."""
    damage(folder, lambda _, lines: [line.update({name: value}) for line in lines if line["key"] == key])


def move_line_out(folder: Path, problem: Problem) -> None:
    """Move a damaged line into a file beside the dataset."""
    name, number = problem.place.split(", line ")
    lines = (folder / name).read_text().splitlines(keepends=True)
    with (folder.parent / "lines").open("a") as file:
        file.write(lines.pop(int(number) - 1))
    (folder / name).write_text("".join(lines))


def words(folder: Path) -> set[str]:
    """Return the prompts by a person in a dataset and in the file of lines that were moved out."""
    moved = folder.parent / "lines"
    texts = {line.get("text") for line in map(json.loads, moved.read_text().splitlines())} if moved.exists() else set()
    return texts | {triple.text for triple in Dataset.open(folder).triples() if triple.by_person}


@pytest.mark.parametrize(
    ("rule", "break_it"),
    [(rule, change) for rule, changes in BROKEN.items() for change in changes if rule not in NOT_FOLLOWED],
)
def test_the_cure_works(copy: Path, clean: Path, segkit: Segkit, rule: str, break_it: Break) -> None:
    """After the cure the problem is gone, no other error has come, and no prompt, split or column is lost."""
    damage(copy, break_it)
    before = {json.loads(line)["text"] for line in (copy / "metadata.jsonl").read_text().splitlines()}
    split = {triple.key: triple.split for triple in Dataset.open(clean).triples()}

    for _ in range(8):  # some damage breaks several rules, or one rule twice
        report = checks.check(Dataset.open(copy))
        problems = [problem for problem in report.problems if rule == problem.rule or problem.severity == "error"]
        if not problems:
            break
        follow(min(problems, key=lambda problem: problem.rule != rule), copy, clean.parent / "photos", segkit)

    assert not problems
    if rule not in ("prompt-missing", *(name for name in checks.RULES if name.startswith("prompt-"))):
        assert {text for text in before if text.startswith("my words")} <= words(copy)
    kept = [triple for triple in Dataset.open(copy).triples() if triple.by_person and not rule.startswith("split")]
    assert rule.startswith("split") or all(triple.split == split[triple.key] for triple in kept)


def test_no_cure_tells_to_delete_words(copy: Path) -> None:
    """Whatever is broken, no cure of a triple says remove or delete; only rejections, which are recorded again."""
    for rule, changes in BROKEN.items():
        for number, break_it in enumerate(changes):
            broken = Path(shutil.copytree(copy, copy.parent / f"{rule} {number}"))
            damage(broken, break_it)
            for problem in checks.check(Dataset.open(broken)).problems:
                deletes = re.search(r"\b(remove|delete|discard|erase)\b", problem.cure, re.IGNORECASE)
                assert not deletes or "rejected.jsonl" in problem.place, problem


@pytest.mark.parametrize("lost", ["images/*/*.jpg", "maps/*/*.png", "*/*/*"])
def test_building_again_restores_lost_files(copy: Path, clean: Path, lost: str) -> None:
    """Every file and line equals what it was: prompts, splits and reviews, near-duplicates included."""
    dataset = Dataset.open(copy)
    first, *rest = dataset.triples()
    dataset.replace_all([replace(first, review="accepted", split="test"), *rest])
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.suffix in (".jpg", ".png", ".jsonl")}
    for path in copy.glob(lost):
        if path.parent.parent.parent == copy and path.is_file():
            path.unlink()

    build(clean.parent / "photos", copy)

    assert {path: path.read_bytes() for path in before} == before
    assert checks.check(Dataset.open(copy)).problems == []


def test_building_again_replaces_a_missing_manifest(copy: Path, clean: Path) -> None:
    """The prompts were in it; photos, maps and splits are the same."""
    (copy / "metadata.jsonl").unlink()

    build(clean.parent / "photos", copy)

    assert checks.check(Dataset.open(copy)).counts() == {"prompt-missing": 6}
    assert [triple.split for triple in Dataset.open(copy)] == [triple.split for triple in Dataset.open(clean)]


def test_a_prompt_with_quotes_survives_the_shell(copy: Path, segkit: Segkit) -> None:
    """The command that a cure prints quotes the prompt and the folder."""
    odd = copy.rename(copy.parent / "it's mine")
    dataset = Dataset.open(odd)
    first, *rest = dataset.triples()
    text = """the "king's" bed; $HOME `x` """ + "of wood " * 5
    dataset.replace_all([replace(written(first, text.strip()), tokens=3), *rest])
    [problem] = checks.check(dataset).problems

    follow(problem, odd, copy, segkit)

    assert problem.rule == "tokens-differ"
    assert dataset[first.key].text == text.strip()
    assert checks.check(dataset).problems == []
