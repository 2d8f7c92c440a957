"""Every notebook runs from the first to the last cell in the toy world, without network access."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def load(path: Path) -> Any:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


SHORT = """
import dataclasses, segkit.toy.demo, trainer.run.validation, trainer.sample.sampler
trainer.run.validation.MIN_LOSSES, trainer.sample.sampler.STEPS = 2, 2
segkit.toy.demo.EVALUATION = dataclasses.replace(segkit.toy.demo.EVALUATION, steps=2)
del dataclasses, segkit, trainer
"""
"""Shortens validation, previews and pictures of the notebooks that train, after the first cell of the first of them."""

FIRST = "03_train"
"""The first notebook that trains."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Any]:
    """All notebooks with their outputs, shortened. They share a kernel, which forgets all names after each of them."""
    notebooks = {path: load(path) for path in NOTEBOOKS}
    together: Any = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    cell: Any = nbformat.v4.new_code_cell
    for notebook in notebooks.values():
        together.cells += [*notebook.cells, cell("%reset -f")]
    trained = next(notebook for path, notebook in notebooks.items() if path.stem == FIRST)
    first = next(one for one in trained.cells if one.cell_type == "code")
    together.cells.insert(together.cells.index(first) + 1, cell(SHORT))
    folder = tmp_path_factory.mktemp("notebooks")
    client = NotebookClient(together, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGKIT_PHOTOS", "18")
        patch.setenv("SEGKIT_STEPS", "2")
        client.execute()  # raises the error of a failing cell
    return notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_pictures(path: Path, executed: dict[Path, Any]) -> None:
    """No cell fails or warns, and at least two pictures are shown. Training is shortened."""
    outputs = [output for cell in executed[path].cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_results(path: Path) -> None:
    """A notebook is stored with its pictures, is smaller than 2 MB and contains no home folder."""
    notebook = load(path)

    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))
    assert path.stat().st_size < 2_000_000
    assert "/home/" not in path.read_text()
