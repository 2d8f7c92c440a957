"""segkit review."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.commands.options import Command

if TYPE_CHECKING:
    from segkit.review.queue import Order


@click.command(
    "review",
    cls=Command,
    short_help="Correct maps and prompts in a web page.",
    example='segkit review rooms --where "review:open class:person"',
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--where", default="", metavar="TEXT", help="Conditions of the queue, as in segkit remove.")
@click.option(
    "--order", type=click.Choice(["doubt", "source"]), default="doubt", show_default=True,
    help="Most doubtful first, or by the name of the photo.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; 0 for any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--tokenizer", default="", metavar="FOLDER", help="Folder of CLIP's tokenizer, which counts prompts.")
def command(dataset: Path, where: str, order: "Order", port: int, host: str, no_browser: bool, tokenizer: str) -> None:
    """Open a local web page in which a person corrects maps, edits prompts and decides on triples, worst first.

    Every change is stored before the page says so. Ctrl-C ends the server.
    """
    from segkit import console
    from segkit.dataset import Dataset
    from segkit.dataset import where as conditions
    from segkit.models import tokens
    from segkit.review import browser, server
    from segkit.review.session import Session

    opened = Dataset.open(dataset)
    if where.strip():
        conditions.parse(where, opened.info.palette)
    counter = tokens.counter(tokenizer, download=False)
    session = Session(opened, counter.count, counter.name, where, order)
    if host not in server.LOOPBACK:
        console.line(
            f"Warning: --host {host} lets everybody on the network who has the address below change the dataset, and "
            "read it: the connection is not encrypted.",
            error=True,
        )

    def ready(url: str) -> None:
        click.echo(f"Review of {dataset}: {url}")
        click.echo("Keep this address to yourself: it grants access. Ctrl-C ends the review; every change is stored.")
        if not no_browser:
            browser.open_page(url)

    server.Server(session, host, port, ready).run()
