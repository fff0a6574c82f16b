"""Where words continue: the `##` forms of Chinese characters that stand for it in a corpus, and the way back.

A Chinese WordPiece vocabulary has a token for each character. In a corpus for whole-word masking each character of a
word but the first is written as the id of its `##` form, which has an id behind the vocabulary where the vocabulary has
none. The model never sees these ids: masking reads them, then puts the plain characters in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.wordpiece import WordPieceTokenizer

FIRST, LAST = 0x4E00, 0x9FA5
"""The characters that have such forms in PaddleNLP's corpora."""

Layout = Literal["ernie", "health"]
LONGEST_WORD: dict[Layout, int] = {"ernie": 6, "health": 4}
"""Most tokens of a word that is marked; a longer one is marked where words of the same text are parts of it."""


@dataclass(frozen=True)
class WordForms:
    """What each token id means for words; V ids in all, those behind the vocabulary included.

    Args:
        continues: whether the token goes on with the word of the token before it, bool [V].
        plain: the id that the model sees, int64 [V].
        form: id of the `##` form of a token that is one Chinese character, -1 for others, int64 [V].
        code: code point of a token that is one Chinese character, 0 for others, uint32 [V].
    """

    continues: np.ndarray
    plain: np.ndarray
    form: np.ndarray
    code: np.ndarray

    def __len__(self) -> int:
        return len(self.plain)

    @cached_property
    def marks_words(self) -> bool:
        """Whether there are `##` forms of Chinese characters."""
        return bool((self.form >= 0).any())


def word_forms(tokenizer: Tokenizer, layout: Layout = "ernie") -> WordForms:
    """The forms of a tokenizer's vocabulary.

    Args:
        tokenizer: any; words are known of WordPiece vocabularies only, in others each token is a word.
        layout: which ids the `##` forms have. ``ernie`` (PaddleNLP's `extend_chinese_char`): that of the vocabulary, or
            behind it in the order of the characters' ids. ``health`` (ERNIE-Health): behind it in the order of Unicode.
    """
    size = len(tokenizer)
    tokens = {**tokenizer.vocab, **tokenizer.added_tokens} if isinstance(tokenizer, WordPieceTokenizer) else {}
    characters = {token: index for token, index in tokens.items() if _is_chinese(token)}
    forms: dict[str, int] = {}
    following = size
    if layout == "health":
        forms = {chr(code): size + code - FIRST for code in range(FIRST, LAST + 1)} if characters else {}
        following = size + len(forms)
    else:
        for character in sorted(characters, key=characters.__getitem__):
            known = tokens.get(f"##{character}")
            forms[character] = following if known is None else known
            following += known is None

    continues = np.zeros(following, bool)
    plain, form, code = np.arange(following), np.full(following, -1), np.zeros(following, np.uint32)
    continues[[index for token, index in tokens.items() if token.startswith("##") and len(token) > 2]] = True
    for character, index in forms.items():
        continues[index] = True
        if character in characters:
            plain[index] = characters[character]
            form[characters[character]] = index
            code[characters[character]] = ord(character)
        else:
            plain[index] = tokenizer.unk_token_id
    for character, index in characters.items():  # forms of the vocabulary that the layout does not use
        if f"##{character}" in tokens:
            plain[tokens[f"##{character}"]] = index
    return WordForms(continues, plain, form, code)


def _is_chinese(token: str) -> bool:
    return len(token) == 1 and FIRST <= ord(token) <= LAST


def mark_words(
    ids: np.ndarray, counts: np.ndarray, words: Sequence[Sequence[str]], forms: WordForms, longest: int
) -> np.ndarray:
    """Write the characters that continue a word in their `##` forms.

    As in PaddleNLP, what is a word is looked up among all words of the same text: from each Chinese character on, the
    most characters that form one of them, up to `longest`, are a word.

    Args:
        ids: token ids of B texts laid end to end, int64 [N].
        counts: number of tokens of each text, int64 [B].
        words: words of each text.
        forms: of the vocabulary.
        longest: most characters of a word.

    Returns:
        The ids with marks, int64 [N].
    """
    codes = forms.code[ids]
    # Tokens that are no Chinese character become U+FFFF, which no word holds.
    characters = np.where(codes == 0, np.uint32(0xFFFF), codes).astype("<u4").tobytes().decode("utf-32-le")
    continues: list[int] = []
    begin = 0
    for count, own in zip(counts.tolist(), words, strict=True):
        end = begin + count
        found: dict[int, int] = {}
        for word in {word for word in own if 1 < len(word) <= longest}:
            size = len(word)
            at = characters.find(word, begin, end)
            while at >= 0:
                if found.get(at, 0) < size:
                    found[at] = size
                at = characters.find(word, at + 1, end)
        free = begin
        for at in sorted(found):
            if at >= free:
                free = at + found[at]
                continues += range(at + 1, free)
        begin = end
    marked = ids.copy()
    marked[continues] = forms.form[ids[continues]]
    return marked
