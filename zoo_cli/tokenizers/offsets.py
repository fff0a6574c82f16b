"""PaddleNLP's character offsets, reproduced.

PaddleNLP finds the place of a token by searching for it in a normalised copy of the text from the end of the token
before. That is the token's place as long as all tokens are found. One that is not (`[UNK]`, above all) gets what lies
between its neighbours, white space included; and of consecutive ones, all but the last get one character. Offsets that
`encode_batch` gives by default are the true places instead; these are for results that must agree with PaddleNLP's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache

from zoo_cli.tokenizers.characters import is_control, strip_marks


@lru_cache(maxsize=1 << 14)
def _basic_form(char: str, lower: bool) -> str:
    form = strip_marks(char.lower()) if lower else char
    return "".join(part for part in form if not is_control(part))


_COMPATIBLE = ((0xFF00, 0xFFEF), (0xFE50, 0xFE6B), (0x3358, 0x33FF), (0x249C, 0x24E9), (0x3200, 0x32FF))
_NUMERIC = ((0x2460, 0x249B), (0x24EA, 0x24FF), (0x2776, 0x2793), (0x2160, 0x217F))


@lru_cache(maxsize=1 << 14)
def _width_form(char: str) -> str:
    code = ord(char)
    if any(first <= code <= last for first, last in _COMPATIBLE):
        return unicodedata.normalize("NFKC", char)
    if any(first <= code <= last for first, last in _NUMERIC):
        return f" {int(unicodedata.numeric(char))} "
    return char


def basic_normalize(text: str, lower: bool) -> tuple[str, list[int]]:
    """Text as the search sees it for BERT-like tokenizers, and the place of each of its characters in the original."""
    forms = [_basic_form(char, lower) for char in text]
    return "".join(forms), [index for index, form in enumerate(forms) for _ in form]


def width_normalize(text: str, lower: bool) -> tuple[str, list[int]]:
    """The same for the other tokenizers, which have full-width, enclosed and numeric forms replaced.

    Forms of several characters shift the places of all that follows, as they do in PaddleNLP.
    """
    normalized = "".join(map(_width_form, text))
    return normalized.lower() if lower else normalized, list(range(len(text)))


def search_offsets(
    tokens: Sequence[str], text: str, places: Sequence[int], specials: Collection[str] = ()
) -> list[tuple[int, int]] | None:
    """Search for each token behind the one before.

    Args:
        tokens: texts to search for: the tokens without their `##` or `▁`, in lower case if `text` is.
        text: normalised text.
        places: place in the original text of each character of `text`.
        specials: special tokens; a token that is not found and has one of these behind it gets one character.

    Returns:
        A span for each token, or None where the search leaves the text (PaddleNLP fails there).
    """
    found: list[tuple[int, int]] = []
    position = 0
    text = text.replace("ς", "σ")
    for index, token in enumerate(tokens):
        wanted = token.replace("ς", "σ")
        start = text.find(wanted, position)
        if start < 0 and index + 1 < len(tokens) and tokens[index + 1] in specials:
            start, wanted = position, " "
        found.append((start, start + len(wanted)))
        if start >= 0:
            position = start + len(wanted)

    spans = []
    for index, (start, end) in enumerate(found):
        if start < 0:
            start = found[index - 1][1] if index else 0
            end = found[index + 1][0] if index + 1 < len(found) else len(places)
        if start >= len(places) or not -len(places) <= end - 1 < len(places):
            return None
        spans.append((places[start], places[end - 1] + 1))
    return spans
