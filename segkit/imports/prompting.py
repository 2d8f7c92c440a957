"""The texts that come with data become prompts of a person, or of a model that is named."""

from dataclasses import dataclass

from msgspec.structs import replace

from segkit.dataset import prompts
from segkit.dataset.formats.items import Item
from segkit.dataset.prompts import Count
from segkit.dataset.triple import PERSON, Prompt, Triple, digest


@dataclass(frozen=True)
class Prompts:
    """How texts become prompts.

    Attributes:
        count: returns the number of tokens of a prompt.
        model: that wrote them; "" if they count as a person's.
        tokenizer: name of the tokenizer behind `count`.
        short: whether all texts are cut to CLIP's length, which reads no more of them.
    """

    count: Count
    model: str = ""
    tokenizer: str = "estimate"
    short: bool = False

    @property
    def human(self) -> bool:
        """Whether the texts count as a person's."""
        return not self.model

    def text(self, item: Item) -> str:
        """Return the text of an item with single spaces; "" if it has none."""
        text = " ".join(item.text.split())
        return prompts.shorten(text, self.count) if self.short and text else text

    def with_text(self, triple: Triple, item: Item) -> Triple:
        """Return a triple with the text of an item, if it has one.

        A model's text is cut to CLIP's length, as a draft is; a person's stays whole, unless all are cut.
        """
        text = self.text(item)
        if not text:
            return triple
        if self.human:
            return replace(triple, text=text, tokens=self.count(text), prompt=PERSON, problems=())
        short = prompts.shorten(text, self.count)
        problems = (*prompts.flags(text), *(("prompt-cut",) if short != text else ()))
        # without a caption, which build-dataset would compose again in another style
        author = Prompt("model", self.model, "", human=False, digest=digest(short))
        return replace(triple, text=short, tokens=self.count(short), prompt=author, problems=problems)
