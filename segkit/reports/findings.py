"""Findings of check-palette about palette tables and about control maps in any supported layout."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segkit import problem
from segkit.errors import PaletteError, UsageError
from segkit.palette import SHIPPED, Palette, collisions, formats, jpeg, repair_joined_names, shipped_folder, tables
from segkit.palette.collisions import Pair
from segkit.palette.tables import Source, Swatch
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.remote import is_url, location
from segkit.settings import PaletteSettings

if TYPE_CHECKING:
    from segkit.palette import google_sheets
    from segkit.palette.free_colors import FreeColor
    from segkit.reports.map_findings import MapReport

Kind = Literal["palette", "sheet", "map", "folder", "dataset", "shard", "shards", "fill50k", "imagefolder", "kohya"]
TABLES = (".csv", ".tsv", ".tab", ".psv", ".json", ".gpl")
NOTES = (".txt", ".md")
"""Text files, which may hold a table."""

DOCUMENTS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers", ".pdf", ".html", ".htm", ".docx", ".rtf", ".ase")
"""Other files that hold palettes; reading them as tables says what they are and what to do."""

EXPECTED = (
    "a palette table (.csv, .tsv, .txt, .md, .json, .gpl), a Google Sheet, a control map (.png), a folder of maps, "
    "a dataset, a WebDataset shard (.tar), or a folder in the layout of fill50k, an imagefolder or kohya's scripts"
)


@dataclass(frozen=True)
class PaletteReport:
    """Findings about one target.

    Attributes:
        target: the target as passed by the caller; "ade20k" if none was passed.
        kind: the detected kind of target.
        palette: name of the examined palette, or of the palette that maps were compared with.
        findings: all problems, including those of severity "known".
        swatches: classes of the table; empty for maps.
        pairs: similar colours within the table and between it and other palettes.
        maps: one report per readable map; empty for tables.
        suggestions: colours for new classes; empty unless requested (see `with_suggestions`).
        map_palette: the palette that maps were compared with; None for tables.
        added: classes that were added to the table; empty unless it was extended (see `write_extended`).
    """

    target: str
    kind: Kind
    palette: str
    findings: list[Problem]
    swatches: list[Swatch] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    maps: list["MapReport"] = field(default_factory=list)
    suggestions: list["FreeColor"] = field(default_factory=list)
    map_palette: Palette | None = None
    added: list[Swatch] = field(default_factory=list)

    @property
    def renumbered(self) -> str:
        """That the table counts its classes from 1, as a sentence; "" if it does not."""
        return tables.renumbered(self.target, self.swatches)

    @property
    def has_findings(self) -> bool:
        """Whether there is any finding apart from known quirks of the shipped palettes."""
        return problem.fails(self.findings)

    @property
    def jpeg_quality(self) -> int | None:
        """Lowest JPEG quality at which areas of uniform colour keep their class (see `jpeg.lowest_quality`)."""
        known = jpeg.LOWEST.get(self.target)
        return known or (jpeg.lowest_quality([swatch.rgb for swatch in self.swatches]) if self.swatches else None)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values."""
        return {
            "target": self.target,
            "kind": self.kind,
            "palette": self.palette,
            "classes": len(self.swatches),
            "findings": [finding.to_json() for finding in self.findings],
            "pairs": [pair.to_json() for pair in self.pairs],
            "jpeg_quality": self.jpeg_quality,
            "maps": [map_report.to_json() for map_report in self.maps],
            "suggestions": [{"colour": free.hex, "distance": free.distance} for free in self.suggestions],
            "added": [{"index": new.index, "name": new.name, "colour": new.hex} for new in self.added],
            "renumbered": self.renumbered,
        }


COPY = "Copy them first; segkit import reads maps from a URL, and checks and repairs them."
"""What to do about maps at a URL."""


def examine(
    target: str | None,
    min_distance: float = collisions.MIN_DISTANCE,
    progress: Progress = silent,
    against: Sequence[str] = SHIPPED,
    palette: str = "ade20k",
) -> PaletteReport:
    """Examine a palette table or control maps. Maps are read one at a time, so memory stays bounded.

    Args:
        target: name of a shipped palette, or path of a table, control map, folder of maps, dataset, shard (.tar) or
            imagefolder, or a folder of fill50k or kohya. None examines ADE20K.
        min_distance: RGB L2 distance, 0 to 442. Colours of a table closer than this are reported.
        progress: see `segkit.progress`.
        against: names of shipped palettes or paths of tables whose colours must not be confused with the table's.
        palette: palette that loose maps should use: name of a shipped palette or path of a table. A dataset uses its
            recorded palette instead.

    Raises:
        PaletteError: the target does not exist, or a palette is not valid.
        MapError: the target contains no control maps, or its metadata or shard is damaged.
        DatasetError: the target is a damaged dataset.
        SettingError: the distance is out of range, or a name is not text.
    """
    PaletteSettings(min_distance=min_distance, against=against, palette=palette)  # type: ignore[arg-type]
    if target is None or target in SHIPPED:
        name = target or "ade20k"
        return _examine_table(name, shipped_folder() / f"{name}.csv", min_distance, against)
    if is_url(target):
        raise PaletteError(f"{location(target)}: palettes and maps are read from local files. {COPY}")
    path = _require_target(target)
    if not path.is_dir() and _is_table(path):
        return _examine_table(target, path, min_distance, against)
    from segkit.dataset import map_sources  # imports numpy, which tables do not need
    from segkit.reports import map_findings

    kind, sources, map_palette = map_sources.find(path, Palette.load(palette), EXPECTED)
    findings, maps = map_findings.read(sources, map_palette, progress)
    return PaletteReport(target, kind, map_palette.name, findings, maps=maps, map_palette=map_palette)


def _require_target(target: str) -> Path:
    if not target:
        raise PaletteError(f"The target's name is empty. Expected {EXPECTED}.")
    path = Path(target)
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise PaletteError(f"{target}: {reason}. Expected {EXPECTED}.") from None
    return path


def _is_table(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in TABLES + DOCUMENTS or (suffix in NOTES and formats.holds_palette(path))


def _examine_table(target: str, path: Path, min_distance: float, against: Sequence[str]) -> PaletteReport:
    others = [name for name in against if name != target]
    return _table_report(target, "palette", path.stem, tables.read(path), min_distance, others)


def _table_report(
    target: str,
    kind: Kind,
    name: str,
    table: tuple[list[Swatch], list[Problem]],
    min_distance: float,
    against: Sequence[str],
) -> PaletteReport:
    swatches = repair_joined_names(table[0])
    clashes = collisions.check(swatches, name, against, min_distance)
    problems = clashes.problems
    if any(problem.rule == "unreadable-row" for problem in table[1]):  # which says why a class is missing
        problems = [problem for problem in problems if problem.rule != "missing-class"]
    return PaletteReport(target, kind, name, table[1] + problems, swatches, clashes.pairs)


def examine_sheet(
    sheet: "google_sheets.Address", access: "google_sheets.Access", min_distance: float, against: Sequence[str]
) -> PaletteReport:
    """Examine the palette table in a Google Sheet. See `examine` for the arguments.

    Raises:
        SheetError: the sheet cannot be read.
        PaletteError: the sheet does not contain a palette table.
    """
    from segkit.palette import google_sheets

    title, rows = google_sheets.rows(sheet, access)
    return _table_report(
        sheet.key, "sheet", title, tables.from_rows(rows, Source(title, is_sheet=True)), min_distance, against
    )


def push(report: PaletteReport, sheet: "google_sheets.Address", access: "google_sheets.Access") -> int:
    """Write the findings into a column of the sheet, each beside its row.

    Findings about the table as a whole go beside the first class.

    Returns:
        The number of findings written; known quirks are left out.

    Raises:
        SheetError: the sheet cannot be written.
    """
    from segkit.palette import google_sheets

    first = min((swatch.line for swatch in report.swatches), default=2)
    lines = {f"{report.palette}: {swatch.name}": swatch.line for swatch in report.swatches}
    cells: dict[int, list[str]] = {}
    findings = [finding for finding in report.findings if finding.severity != "known"]
    for finding in findings:
        numbered = re.search(r", (?:cell [A-Z]+|row )(\d+)$", finding.place)
        line = int(numbered[1]) if numbered else lines.get(finding.place, first)
        cells.setdefault(line, []).append(f"{finding.message} {finding.cure}".strip())
    google_sheets.push(sheet, access, {line: "\n".join(texts) for line, texts in cells.items()})
    return len(findings)


def save(report: PaletteReport, path: Path) -> None:
    """Write the examined table as CSV.

    Raises:
        UsageError: the report is about maps, the table has errors, or the path does not end in .csv or exists.
    """
    from segkit import storage
    from segkit.palette import extend

    swatches = _require_table(report)
    require_new_file(path, ".csv")
    errors = sum(finding.severity == "error" for finding in report.findings)
    if errors:
        raise UsageError(f"{report.target} has {errors} errors, so it was not saved. Fix them first.")
    storage.write(path, extend.encode(Palette(path.stem, tuple(swatches))))


def require_new_file(path: Path, *suffixes: str) -> None:
    """Check that a file with this name can be created.

    Args:
        path: the file.
        suffixes: the suffixes that it may have.

    Raises:
        UsageError: the name ends differently, or the file exists.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(suffixes)}.")
    if path.exists():
        raise UsageError(f"{path} already exists. Choose another name or remove it.")


def with_suggestions(report: PaletteReport, number: int) -> PaletteReport:
    """Return the report with a number of colours for new classes; unchanged if the number is 0.

    Raises:
        UsageError: the report is about maps.
    """
    if not number:
        return report
    from segkit.palette import extend

    return replace(report, suggestions=extend.suggest(_require_table(report), number))


def write_extended(report: PaletteReport, path: Path, names: Sequence[str]) -> PaletteReport:
    """Write the examined palette with new classes as CSV.

    Args:
        report: the report of the palette.
        path: the new file; its stem becomes the palette's name.
        names: names of the new classes.

    Returns:
        The report with the new classes in `added`.

    Raises:
        UsageError: the report is about maps, or the path does not end in .csv or exists.
        PaletteError: the table has errors, or a name cannot be used.
    """
    from segkit import storage
    from segkit.palette import extend

    require_new_file(path, ".csv")
    palette = Palette(report.palette, tuple(_require_table(report)))
    extended = extend.extended(palette, names, path.stem)
    storage.write(path, extend.encode(extended))
    return replace(report, added=list(extended)[len(palette) :])


def write_swatches(report: PaletteReport, paths: Sequence[Path]) -> None:
    """Write the examined palette, with its new classes if it was extended, as swatches for image editors.

    Args:
        report: the report of the palette.
        paths: the new files, each .gpl, .aco or .png.

    Raises:
        UsageError: the report is about maps, or a path ends differently or exists; then nothing is written.
        PaletteError: the table has errors.
    """
    from segkit import storage
    from segkit.palette import swatches

    for path in paths:
        require_new_file(path, *swatches.FORMATS)
    palette = Palette(report.palette, (*_require_table(report), *report.added))
    for path in paths:
        storage.write(path, swatches.encode(palette, path))


def _require_table(report: PaletteReport) -> list[Swatch]:
    if report.kind not in ("palette", "sheet"):
        raise UsageError(f"{report.target} is a {report.kind}, not a palette table. Name a palette table or omit it.")
    return report.swatches
