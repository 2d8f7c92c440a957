"""segkit caption."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.build.settings import DraftingSettings
from segkit.commands.options import Command, json_option, settings_options, take, threads_option, with_removals

if TYPE_CHECKING:
    from segkit.dataset import Dataset


@click.command(
    "caption", cls=Command, short_help="Draft prompts, or set hand-written ones.",
    example='segkit caption rooms --redo-drafts --template "{caption}, {classes}"',
    after_interrupt="Drafts that are recorded are kept; run the command again with --only-missing for the others.",
)  # fmt: skip
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--only-missing", is_flag=True, help="Draft missing prompts only.  [default]")
@click.option("--redo-drafts", "redo", is_flag=True, help="Redraft all prompts except hand-written ones.")
@click.option(
    "--edit", "edits", nargs=2, multiple=True, metavar="KEY TEXT",
    help="Set one hand-written prompt; repeatable.",
)  # fmt: skip
@click.option(
    "--from-csv", type=click.Path(path_type=Path), metavar="FILE",
    help="Set hand-written prompts from a CSV with columns key (or source) and text (or prompt, caption).",
)  # fmt: skip
@settings_options(DraftingSettings)
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    dataset: Path,
    only_missing: bool,
    redo: bool,
    edits: tuple[tuple[str, str], ...],
    from_csv: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Draft the prompts of a dataset, or set hand-written ones, which drafting never overwrites.

    --prefix, --suffix and --template are remembered: stored captions are composed again without running the captioner,
    and photos added later get them too.
    """
    from segkit.dataset import Dataset
    from segkit.errors import UsageError

    settings = take(DraftingSettings, with_removals(context, values))
    if only_missing and redo:
        raise UsageError("--only-missing and --redo-drafts exclude each other. Pass one of them.")
    if (edits or from_csv) and (redo or settings.prefix or settings.suffix or settings.template):
        raise UsageError(
            "--redo-drafts, --prefix, --suffix and --template change drafts and cannot be combined with --edit or "
            "--from-csv. Run them one after the other."
        )
    opened = Dataset.open(dataset)
    if edits or from_csv:
        return _edit(opened, edits, from_csv, settings.tokenizer, as_json)
    return _draft(opened, settings, redo, as_json)


def _edit(
    dataset: "Dataset", edits: tuple[tuple[str, str], ...], from_csv: Path | None, tokenizer: str, as_json: bool
) -> None:
    from segkit.commands import show_build
    from segkit.dataset import edits as prompt_edits
    from segkit.models import tokens

    texts = [*(prompt_edits.read_csv(from_csv) if from_csv else ()), *edits]
    changed = prompt_edits.set_prompts(dataset, texts, tokens.counter(tokenizer, download=False).count)
    unnamed = prompt_edits.not_named(dataset, changed) if from_csv else []
    if not dataset.parts():  # otherwise it is so large that its manifest and report follow with the next build
        from segkit.reports import dataset_page

        dataset_page.write(dataset)
    show_build.captions(None, len(changed), prompt_edits.too_long(changed), unnamed, dataset.folder, as_json)


def _draft(dataset: "Dataset", settings: DraftingSettings, redo: bool, as_json: bool) -> None:
    from segkit import console
    from segkit.build import captions, tools
    from segkit.commands import show_build
    from segkit.dataset import edits as prompt_edits
    from segkit.reports import dataset_page

    with console.progress() as progress:
        drafted = captions.draft(dataset, settings, tools.load_drafting, redo=redo, progress=progress)
    dataset_page.write(dataset)
    show_build.captions(drafted, 0, prompt_edits.too_long(dataset.triples()), [], dataset.folder, as_json)
