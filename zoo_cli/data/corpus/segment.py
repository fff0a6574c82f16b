"""Cutting texts into words, for whole-word masking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, cast

from zoo_cli.base.errors import UsageError


class Segmenter(Protocol):
    """Anything that finds the words of texts; pickled once for each process that builds a corpus."""

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """Words of each text. Joined they are what is tokenized: the text, without separators if it has some."""


class SeparatedWords:
    """Texts that are cut already.

    Args:
        separator: stands between two words; an empty word between two separators stands for one separator of the text
            itself, as in PaddleNLP.
    """

    def __init__(self, separator: str = " ") -> None:
        self._separator = separator

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        return [self._cut(text) for text in texts]

    def _cut(self, text: str) -> list[str]:
        words, after_empty = [], False
        for word in text.split(self._separator):
            if word:
                words.append(word)
            elif after_empty:
                words.append(self._separator)
            after_empty = not word and not after_empty
        return words


class OneByOne:
    """A function that cuts one text, as segmenter.

    Args:
        function: gives the words of a text.
    """

    def __init__(self, function: Callable[[str], Sequence[str]]) -> None:
        self._function = function

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        return [list(self._function(text)) for text in texts]


def load_segmenter(name: str) -> Segmenter:
    """The segmenter of that name.

    Args:
        name: ``jieba``; ``separated`` or ``separated:SEPARATOR`` for texts whose words have separators (a space by
            default) between them; or ``package.module:attribute`` for anything else, which is a class to call for a
            `Segmenter` or a function that takes a text and returns its words.

    Raises:
        UsageError: there is no such segmenter (`unknown-segmenter`).
        PlatformError: jieba is not installed (`missing-package`).
    """
    kind, _, rest = name.partition(":")
    if kind == "separated":
        return SeparatedWords(rest or " ")
    if name == "jieba":
        from zoo_cli.data.corpus.jieba_words import JiebaWords

        return JiebaWords()
    try:
        found = getattr(import_module(kind), rest) if rest else None
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is None or not callable(found):
        raise UsageError(
            "unknown-segmenter",
            "there is no segmenter {name!r}",
            fix="write jieba, separated, or package.module:function of what cuts a text into words",
            name=name,
        )
    return cast(Segmenter, found()) if isinstance(found, type) else OneByOne(found)
