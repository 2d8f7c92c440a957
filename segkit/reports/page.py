"""Self-contained HTML pages: templates beside this module, pictures as data URIs, no network and no script."""

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from segkit.words import count

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Picture:
    """A picture embedded in a page.

    Attributes:
        uri: data URI with the encoded pixels.
        alt: alternative text of the picture.
        css_class: CSS class; "map" scales without smoothing, so that class colours stay exact on screen.
    """

    uri: str
    alt: str
    css_class: str = ""


def render(template: str, **values: Any) -> str:
    """Render a page. Every value is escaped, so file names, prompts and class names never become markup.

    Args:
        template: file name in the templates folder, such as "dataset.html".
        **values: the template's variables.

    Raises:
        jinja2.UndefinedError: the template uses a variable that is not among the values.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "Environment":
    import jinja2  # only reports need it; `segkit --help` starts without it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["count"] = count
    return environment


def embed(image: Image.Image, alt: str, file_format: str = "JPEG", css_class: str = "") -> Picture:
    """Encode a picture as a data URI.

    Args:
        image: stored at its full size; scale it first.
        alt: what the picture shows.
        file_format: "JPEG" for photos, "PNG" for maps.
        css_class: see `Picture`.
    """
    buffer = BytesIO()
    image.save(buffer, file_format)
    data = b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/{file_format.lower()};base64,{data}", alt, css_class)
