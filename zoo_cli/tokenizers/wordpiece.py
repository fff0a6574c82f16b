"""WordPiece tokenizers: BERT, TinyBERT, ERNIE, ERNIE-Doc (Chinese), ELECTRA and UNIMO.

A text is cut into words by lookup tables over its code points (`zoo_cli.tokenizers.characters`), the whole batch at
once; a word of one character, which in Chinese text is nearly every one, is found in a table by its code point, and a
longer one in a cache that the `tokenizers` library's WordPiece fills. So a batch costs a few array operations and one
dictionary look-up for each longer word; no thread is started, and forked workers share the tables.

Source: "BERT: Pre-training of Deep Bidirectional Transformers", Devlin et al. 2018, and PaddleNLP 2.8.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from tokenizers.models import WordPiece

from zoo_cli.base.errors import UsageError
from zoo_cli.tokenizers.characters import ALONE, CODE_POINTS, DROP, EXPAND, WORD, character_table, is_cjk
from zoo_cli.tokenizers.offsets import basic_normalize, search_offsets
from zoo_cli.tokenizers.pieces import Pieces
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer
from zoo_cli.tokenizers.vocabulary import ResourceFile, read_vocabulary

_CHUNK_CHARACTERS = 1 << 17
_CACHE_WORDS = 1 << 17
_LONGEST_WORD = 100
_SPACE_CODE = 32


class WordPieceTokenizer(PretrainedTokenizer):
    """Base of the WordPiece tokenizers.

    Offsets of `encode_batch` are the true places of the tokens in the original text; a token that stands for characters
    with accents or control characters inside spans them.

    Args:
        files: `vocab_file`, one token a line.
        config: `do_lower_case` (default: `default_lower_case`), `strip_accents` (default: as `do_lower_case`),
            `tokenize_chinese_chars` (default true) and names of special tokens.
        added_tokens: id of tokens beyond the vocabulary.
    """

    resource_files_names: ClassVar[Mapping[str, str]] = {"vocab_file": "vocab.txt"}
    default_lower_case: ClassVar[bool] = True
    vocabulary_has_ids: ClassVar[bool] = False
    lowers_per_word: ClassVar[bool] = False

    def __init__(
        self,
        files: Mapping[str, ResourceFile],
        config: Mapping[str, Any] | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(files, config, added_tokens)
        lower = self.config.get("do_lower_case")
        self.do_lower_case = self.default_lower_case if lower is None else bool(lower)
        accents = self.config.get("strip_accents")
        chinese = self.config.get("tokenize_chinese_chars")
        self._characters = character_table(
            self.do_lower_case,
            self.do_lower_case if accents is None else bool(accents),
            True if chinese is None else bool(chinese),
        )
        self._index_vocabulary()

    def read_vocab(self) -> dict[str, int]:
        return read_vocabulary(self.files["vocab_file"], self.vocabulary_has_ids)

    def subset(self, ids: Sequence[int]) -> Self:
        """A tokenizer that has only these tokens, numbered anew in the order given; a word whose tokens are all among
        them is cut as before.

        Args:
            ids: ids of tokens, special ones among them.
        """
        tokens = self.convert_ids_to_tokens(ids)
        lines = [
            f"{token}\t{number}\n" if self.vocabulary_has_ids else f"{token}\n" for number, token in enumerate(tokens)
        ]
        file = self.files["vocab_file"]._replace(data="".join(lines).encode())
        added = {token: number for number, token in enumerate(tokens) if token in self._listed_tokens}
        return type(self)({**self.files, "vocab_file": file}, self.config, added)

    def _index_vocabulary(self) -> None:
        self._wordpiece = WordPiece(
            self.vocab, unk_token=self.special_tokens["unk_token"], max_input_chars_per_word=_LONGEST_WORD
        )
        self._cache: dict[str, tuple[int, ...]] = {}
        sizes = np.ones(max(self._tokens) + 1, np.int64)
        for token, index in self.vocab.items():
            sizes[index] = len(token.removeprefix("##"))
        self._piece_sizes = sizes
        # Id + 1 of words of one character; zero where it is not known yet. Behind the code points, the unsplit tokens.
        self._single = np.zeros(CODE_POINTS + len(self._unsplit), np.int64)
        self._single[CODE_POINTS:] = [self.convert_token_to_id(token) + 1 for token in self._unsplit]

    def encode_pieces(self, texts: Sequence[str]) -> Pieces:
        return Pieces.concatenate([self._encode_chunk(chunk) for chunk in _chunks(texts)])

    def _encode_chunk(self, texts: Sequence[str]) -> Pieces:
        # One text after another with a space between; a word never reaches over it.
        joined = " ".join(texts)
        if self.lowers_per_word and self.do_lower_case and "Σ" in joined:
            joined = _lower_sigma(joined)
        text_starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
        kinds, forms, places, unsplit_ends = self._characters_of(texts, joined, text_starts)

        # Units: a character that stands alone, or a run of characters of a word.
        in_word = kinds == WORD
        after_word = np.zeros_like(in_word)
        after_word[1:] = in_word[:-1]
        before_word = np.zeros_like(in_word)
        before_word[:-1] = in_word[1:]
        starts = np.flatnonzero((kinds == ALONE) | (in_word & ~after_word))
        ends = starts + 1
        ends[in_word[starts]] = np.flatnonzero(in_word & ~before_word) + 1
        lengths = ends - starts

        # Tokens of each unit.
        longer = lengths > 1
        found = self._look_up_words(forms, starts[longer], ends[longer])
        counts = np.ones(len(starts), np.int64)
        counts[longer] = [len(pieces) for pieces in found]
        unit = np.repeat(np.arange(len(starts)), counts)
        ids = np.empty(len(unit), np.int64)
        ids[~longer[unit]] = self._look_up_characters(forms[starts[~longer]])
        ids[longer[unit]] = np.fromiter(chain.from_iterable(found), np.int64)

        # Places: pieces of a word follow each other; a lone token, be it unknown, covers its unit.
        sizes = np.where(counts[unit] == 1, lengths[unit], self._piece_sizes[ids])
        behind = np.cumsum(sizes)
        ahead = behind - sizes
        first_token = np.cumsum(counts) - counts
        begin = starts[unit] + ahead - ahead[first_token[unit]] if len(unit) else starts
        offsets = np.stack([places[begin], places[begin + sizes - 1] + 1], axis=1)
        if unsplit_ends:
            is_unsplit = forms[begin] >= CODE_POINTS
            offsets[is_unsplit, 1] = [unsplit_ends[start] for start in offsets[is_unsplit, 0].tolist()]

        text = np.searchsorted(text_starts, offsets[:, 0], side="right") - 1
        offsets -= text_starts[text][:, None]
        return Pieces(ids, offsets, np.bincount(text, minlength=len(texts)))

    def _characters_of(
        self, texts: Sequence[str], joined: str, text_starts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, int]]:
        """Kind, normalised code point and place of each character that is kept, and where unsplit tokens end."""
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        kinds, forms = self._characters.look_up(codes)
        unsplit_ends: dict[int, int] = {}
        for text, base in zip(texts, text_starts.tolist(), strict=True):
            for match in self.unsplit_pattern.finditer(text):
                start, end = base + match.start(), base + match.end()
                kinds[start], kinds[start + 1 : end] = ALONE, DROP
                forms[start] = CODE_POINTS + self._unsplit.index(match.group())
                unsplit_ends[start] = end
        kept = np.flatnonzero(kinds != DROP)
        kinds, forms = kinds[kept], forms[kept]
        if (kinds == EXPAND).any():
            kinds, forms, kept = self._characters.expand(codes[kept], kinds, forms, kept)
        return kinds, forms, kept, unsplit_ends

    def _look_up_characters(self, codes: np.ndarray) -> np.ndarray:
        """Ids of words of one character."""
        ids = self._single[codes]
        if not ids.all():
            for code in set(codes[ids == 0].tolist()):
                self._single[code] = self.convert_token_to_id(chr(code)) + 1
            ids = self._single[codes]
        return ids - 1

    def _look_up_words(self, forms: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, ...]]:
        """Ids of the pieces of longer words."""
        if not len(starts):
            return []
        text = np.where(forms < CODE_POINTS, forms, _SPACE_CODE).astype("<u4").tobytes().decode("utf-32-le")
        words = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        cache = self._cache
        if len(cache) > _CACHE_WORDS:
            cache = self._cache = {}
        for word in set(words).difference(cache):
            cache[word] = tuple(token.id for token in self._wordpiece.tokenize(word))
        return [cache[word] for word in words]

    def tokenize(self, text: str) -> list[str]:
        return self.convert_ids_to_tokens(self.encode_pieces([text]).ids.tolist())

    def offsets(self, text: str) -> list[tuple[int, int]]:
        normalized, places = basic_normalize(text, self.do_lower_case)
        return self._search(text, normalized, places, self.do_lower_case)

    def _search(self, text: str, normalized: str, places: list[int], lower: bool) -> list[tuple[int, int]]:
        pieces = self.encode_pieces([text])
        specials = {token.lower() if lower else token for token in self.all_special_tokens}
        wanted = [token.removeprefix("##") for token in self.convert_ids_to_tokens(pieces.ids.tolist())]
        spans = search_offsets([t.lower() for t in wanted] if lower else wanted, normalized, places, specials)
        return spans if spans is not None else [(start, end) for start, end in pieces.offsets.tolist()]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace(" ##", "").strip()


class BertTokenizer(WordPieceTokenizer):
    """BERT's tokenizer. Checkpoints whose names say cased, chinese, wwm or macbert set `do_lower_case` to false."""


class TinyBertTokenizer(BertTokenizer):
    """TinyBERT's tokenizer, which is BERT's."""


class ElectraTokenizer(BertTokenizer):
    """ELECTRA's tokenizer, which is BERT's; ERNIE-Health uses it too."""


class ErnieTokenizer(WordPieceTokenizer):
    """Tokenizer of ERNIE 1.0 to 3.0, UIE and UTC."""

    def extend_chinese_char(self) -> None:
        """Add a `##` form of every single CJK ideograph to the vocabulary, as whole-word masking needs it.

        The forms are appended in the order of their ideographs, and `save` writes them.

        Raises:
            UsageError: there are added tokens, whose ids the forms would take.
        """
        if self.added_tokens:
            raise UsageError("added-tokens", "the vocabulary cannot grow once there are added tokens")
        forms = [f"##{token}" for token in self.vocab if len(token) == 1 and is_cjk(token)]
        new = [form for form in forms if form not in self.vocab]
        following = len(self)
        self.vocab.update({form: following + index for index, form in enumerate(new)})
        self._tokens.update({following + index: form for index, form in enumerate(new)})
        file = self.files["vocab_file"]
        text = file.text()
        lines = text if text.endswith("\n") else text + "\n"
        self.files["vocab_file"] = file._replace(data=(lines + "".join(f"{form}\n" for form in new)).encode())
        self._index_vocabulary()


class ErnieDocTokenizer(ErnieTokenizer):
    """Tokenizer of the Chinese ERNIE-Doc, which is ERNIE's."""


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Batches of texts small enough for their arrays to stay in the cache of the processor."""
    if not texts:
        return
    start = size = 0
    for index, text in enumerate(texts):
        if size and size + len(text) > _CHUNK_CHARACTERS:
            yield texts[start:index]
            start, size = index, 0
        size += len(text) + 1
    yield texts[start:]


def _lower_sigma(text: str) -> str:
    """Lower-case the letter sigma, and nothing else, by its place in the word."""
    lowered = text.replace("İ", "i").lower()  # the one letter whose lower case is longer
    return "".join(low if char == "Σ" else char for char, low in zip(text, lowered, strict=True))
