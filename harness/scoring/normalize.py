"""Brings two texts into the same form before they are compared."""

import re
import string
import unicodedata
from dataclasses import dataclass

_ARTICLES = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Normalization:
    """What does not count. `ignore` are patterns that are taken out first, in their order.

    `case`, `punctuation` (the ASCII characters of it), `articles` (a, an, the) and `whitespace` (runs become one blank,
    none at the ends) are applied in that order; `unicode` (NFKC: full-width digits, ligatures) before all of them.
    """

    case: bool = True
    punctuation: bool = False
    articles: bool = False
    whitespace: bool = True
    unicode: bool = True
    ignore: tuple[re.Pattern[str], ...] = ()

    def __call__(self, text: str) -> str:
        """The text without what does not count."""
        if self.unicode:
            text = unicodedata.normalize("NFKC", text)
        for pattern in self.ignore:
            text = pattern.sub("", text)
        if self.case:
            text = text.lower()
        if self.punctuation:
            text = text.translate(_NO_PUNCTUATION)
        if self.articles:
            text = _ARTICLES.sub(" ", text)
        return " ".join(text.split()) if self.whitespace else text
