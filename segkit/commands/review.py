"""segkit review."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.commands.options import Command

if TYPE_CHECKING:
    from segkit.dataset import Dataset
    from segkit.review.assist import Assist
    from segkit.review.drafting import Drafting
    from segkit.review.queue import Order
    from segkit.review.session import Networks, Session


@click.command(
    "review", cls=Command, short_help="Correct maps and prompts in a web page.",
    example='segkit review rooms --where "review:open class:person"',
    after_interrupt="Everything that the page showed as saved is stored.",
)  # fmt: skip
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--where", default="", metavar="TEXT", help="Conditions on the triples to show, as in segkit remove.")
@click.option(
    "--order", type=click.Choice(["doubt", "source"]), default="doubt", show_default=True,
    help="Most doubtful first, or by the name of the photo.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: any free one]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--assist", default="", metavar="MODEL",
    help="SAM or SAM 2 for clicks: sam2, sam2-tiny, sam2-large, sam, sam-large, sam-huge, a folder or a hub id.",
)  # fmt: skip
@click.option("--captioner", default="", metavar="MODEL", help="Captioner for drafts on request, as in segkit caption.")
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@click.option("--tokenizer", default="", metavar="FOLDER", help="Folder with CLIP's tokenizer, to count prompts.")
@click.option(
    "--export-corrections", "exported", type=click.Path(path_type=Path), metavar="FILE",
    help="Write what persons changed to a file, and end.",
)  # fmt: skip
@click.option(
    "--import-corrections", "imported", type=click.Path(path_type=Path), metavar="FILE",
    help="Take over the changes of another copy of the dataset, and end.",
)  # fmt: skip
@click.option("--forget-originals", is_flag=True, help="Delete the maps before correction, and end: no undo is left.")
def command(
    dataset: Path,
    where: str,
    order: "Order",
    port: int,
    host: str,
    assist: str,
    captioner: str,
    no_browser: bool,
    tokenizer: str,
    exported: Path | None,
    imported: Path | None,
    forget_originals: bool,
) -> None:
    """Correct maps and prompts, and accept triples or leave them out, in a web page on this machine.

    The most doubtful triples come first. Every change is stored before the page says so, and can be undone later. The
    page works for one that has the address with its token; Ctrl-C ends it.
    """
    from segkit.dataset import Dataset, emptiness
    from segkit.dataset import where as conditions
    from segkit.errors import UsageError
    from segkit.models import tokens
    from segkit.review.findings import Findings
    from segkit.review.session import Session

    if sum([bool(exported), bool(imported), forget_originals]) > 1:
        raise UsageError("--export-corrections, --import-corrections and --forget-originals exclude each other.")
    opened = Dataset.open(dataset)
    if exported or imported or forget_originals:
        return _maintain(opened, exported, imported)
    if not any(True for _ in opened.triples()):  # those that were left out can be put back
        emptiness.require_triples(opened)
    if where.strip():
        conditions.parse(where, opened.info.palette)
    counter, networks = tokens.counter(tokenizer, download=False), _networks(opened, assist, captioner)
    session = Session(opened, counter, where, order, networks, Findings(opened))
    return _serve(session, host, port, not no_browser)


def _maintain(dataset: "Dataset", exported: Path | None, imported: Path | None) -> None:
    from segkit.commands import show_review
    from segkit.dataset import corrections, relabel

    if exported:
        return show_review.exported(corrections.export_corrections(dataset, exported), exported)
    if imported:
        return show_review.imported(corrections.import_corrections(dataset, imported))
    return show_review.forgotten(relabel.forget_originals(dataset))


def _networks(dataset: "Dataset", assist: str, captioner: str) -> "Networks":
    from segkit.review.session import Networks

    return Networks(_assist(assist) if assist else None, _drafting(dataset, captioner) if captioner else None)


def _assist(name: str) -> "Assist":
    from segkit.models import assist, device
    from segkit.review.assist import Assist

    return Assist(assist.Assistant(name, device.resolve()))


def _drafting(dataset: "Dataset", name: str) -> "Drafting":
    from segkit.build import tools
    from segkit.build.settings import CaptionSettings
    from segkit.dataset import prompts
    from segkit.models import caption, hub
    from segkit.review.drafting import Drafting

    settings = CaptionSettings(captioner=name)
    hub.find(name, caption.ROLE)  # a missing one is named at once; it is loaded with the first draft
    style = settings.style(prompts.recorded_style(dataset.info.settings))
    return Drafting(lambda: tools.load_drafting(settings), style)


def _serve(session: "Session", host: str, port: int, in_browser: bool) -> None:
    from segkit.commands import show_review
    from segkit.review import browser, server

    if host not in server.LOOPBACK:
        show_review.warn_of_host(host)

    def ready(url: str) -> None:
        show_review.address(url, session.dataset.folder)
        if in_browser:
            browser.open_page(url)

    server.Server(session, host, port, ready).run()
