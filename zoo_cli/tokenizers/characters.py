"""What BERT's basic tokenizer does with each Unicode character, as lookup tables over all code points.

The rules are those of PaddleNLP's basic tokenizer, which differs from Hugging Face's: symbols (category S) are split
off like punctuation. Characters are classified by Python's `unicodedata`, as there, and only when they are first met,
so that a table costs nothing to make.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

CODE_POINTS = 0x110000

UNKNOWN, WORD, ALONE, SPACE, DROP, EXPAND = range(6)
"""Kinds: not met yet, part of a word, a word by itself, between words, nothing, several characters."""

_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_ASCII_PUNCTUATION = frozenset(map(chr, (*range(33, 48), *range(58, 65), *range(91, 97), *range(123, 127))))
_SYMBOLS = frozenset("\u00ad\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1")


def is_cjk(char: str) -> bool:
    """Whether the character is a CJK ideograph; kana and hangul are not."""
    code = ord(char)
    return any(first <= code <= last for first, last in _CJK)


def is_control(char: str) -> bool:
    """Whether the basic tokenizer drops the character."""
    if char in "\t\n\r":
        return False
    return char in "\0\ufffd" or unicodedata.category(char).startswith("C")


def is_split_off(char: str) -> bool:
    """Whether the character is punctuation or a symbol, and so a token by itself."""
    return char in _ASCII_PUNCTUATION or char in _SYMBOLS or unicodedata.category(char)[0] in "PS"


def strip_marks(text: str) -> str:
    """Canonical decomposition without its non-spacing marks, i.e. without accents."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")


class CharacterTable:
    """Kind and normalised form of every code point for one setting of the basic tokenizer.

    Safe to use from several threads: entries are only ever filled in, and always with the same values.

    Args:
        lower: lower-case characters one by one.
        strip_accents: decompose characters and drop non-spacing marks.
        split_cjk: make CJK ideographs words of their own.
    """

    def __init__(self, lower: bool, strip_accents: bool, split_cjk: bool) -> None:
        self.lower, self.strip_accents, self.split_cjk = lower, strip_accents, split_cjk
        self._kinds = np.zeros(CODE_POINTS, np.uint8)
        self._codes = np.zeros(CODE_POINTS, np.uint32)
        self._expansions: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def look_up(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kind and normalised code point of each code point [N]."""
        kinds = self._kinds[codes]
        if not kinds.all():
            for code in set(codes[kinds == UNKNOWN].tolist()):
                self._learn(code)
            kinds = self._kinds[codes]
        return kinds, self._codes[codes]

    def expand(
        self, codes: np.ndarray, kinds: np.ndarray, forms: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Replace each character of kind EXPAND (Hangul, for one) by the characters that it decomposes into.

        Args:
            codes, kinds, forms, places: code point, kind, normalised code point and place of each character [N].

        Returns:
            Kinds, normalised code points and places of the characters after that [M].
        """
        several = kinds == EXPAND
        parts = [self._expansions[code] for code in codes[several].tolist()]
        repeats = np.ones(len(codes), np.int64)
        repeats[several] = [len(form) for form, _ in parts]
        target = np.repeat(several, repeats)
        kinds, forms, places = np.repeat(kinds, repeats), np.repeat(forms, repeats), np.repeat(places, repeats)
        forms[target] = [code for form, _ in parts for code in form]
        kinds[target] = [kind for _, kind_of in parts for kind in kind_of]
        return kinds, forms, places

    def _learn(self, code: int) -> None:
        char = chr(code)
        form, kind = char, WORD
        if is_control(char):
            kind = DROP
        elif char.isspace():
            kind = SPACE
        else:
            form = char.lower() if self.lower else char
            form = strip_marks(form) if self.strip_accents else form
            kinds = tuple(ALONE if is_split_off(part) else WORD for part in form)
            if not form:
                kind = DROP
            elif len(form) > 1:
                self._expansions[code] = tuple(map(ord, form)), kinds
                kind = EXPAND
            else:
                kind = ALONE if self.split_cjk and is_cjk(char) else kinds[0]
        self._codes[code] = ord(form[0]) if form else 0
        self._kinds[code] = kind


@lru_cache(maxsize=8)
def character_table(lower: bool, strip_accents: bool, split_cjk: bool) -> CharacterTable:
    """The table of a setting, shared by all tokenizers that have it."""
    return CharacterTable(lower, strip_accents, split_cjk)
