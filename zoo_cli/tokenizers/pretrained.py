"""What all tokenizers share: special tokens, encoding batches, decoding and saving."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import atomic_file, write_json
from zoo_cli.tokenizers.base import Encoding, Tokenizer
from zoo_cli.tokenizers.calls import UpstreamCalls
from zoo_cli.tokenizers.pieces import Frame, Pieces, assemble
from zoo_cli.tokenizers.vocabulary import ResourceFile, require_tokens

CONFIG_FILE = "tokenizer_config.json"
ADDED_TOKENS_FILE = "added_tokens.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"

_CLEAN_UP = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def token_text(value: Any) -> str | None:
    """The token of a configuration entry, which is a string or an object with `content`."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


class PretrainedTokenizer(UpstreamCalls, Tokenizer):
    """Base of the concrete tokenizers.

    A subclass reads its vocabulary (`read_vocab`), and says how texts become tokens (`encode_pieces`, `tokenize`) and
    which special tokens go around them (`frame`).

    Args:
        files: vocabulary files by their role (`vocab_file`, ...).
        config: entries of `tokenizer_config.json`; unknown ones are kept and written back by `save`.
        added_tokens: id of tokens, most of them beyond the vocabulary, that are cut out of texts as a whole.

    Raises:
        ArtifactError: the vocabulary lacks a special token that the tokenizer needs, or an added token has a bad id.
    """

    resource_files_names: ClassVar[Mapping[str, str]]
    default_special_tokens: ClassVar[Mapping[str, str]] = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    required_special_tokens: ClassVar[Sequence[str]] = ("unk_token", "sep_token", "pad_token", "cls_token")
    truncation_side: ClassVar[str] = "right"

    def __init__(
        self,
        files: Mapping[str, ResourceFile],
        config: Mapping[str, Any] | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        self.files = dict(files)
        self.config = dict(config or {})
        self.vocab = vocab = self.read_vocab()
        self.special_tokens: dict[str, str] = {
            name: token_text(self.config.get(name)) or token for name, token in self.default_special_tokens.items()
        }
        first_file = next(iter(self.files.values()))
        require_tokens(vocab, (self.special_tokens[name] for name in self.required_special_tokens), first_file)
        extra = map(token_text, self.config.get("additional_special_tokens") or [])
        self.additional_special_tokens = [token for token in extra if token]
        self._listed_tokens = self._number_added_tokens(added_tokens or {}, first_file)
        self.added_tokens = {token: index for token, index in self._listed_tokens.items() if token not in vocab}
        self._tokens = {index: token for token, index in (*vocab.items(), *self.added_tokens.items())}
        self._unsplit = sorted({*self.all_special_tokens, *self._listed_tokens}, key=lambda token: (-len(token), token))
        self.unsplit_pattern = re.compile("|".join(map(re.escape, self._unsplit)))

    def _number_added_tokens(self, added: Mapping[str, int], file: ResourceFile) -> dict[str, int]:
        numbered: dict[str, int] = {}
        used = set(self.vocab.values())
        for token, index in sorted(added.items(), key=lambda item: item[1]):
            if self.vocab.get(token, index) != index or (token not in self.vocab and index in used):
                raise ArtifactError(
                    "broken-vocabulary",
                    "added token {token!r} has the id {index} of another token",
                    at=Location.of(Path(file.path).with_name(ADDED_TOKENS_FILE)),
                    fix="correct the id in the file, or remove the token",
                    token=token,
                    index=index,
                )
            numbered[token] = index
            used.add(index)
        following = max(used) + 1
        for token in self.additional_special_tokens:
            if token not in self.vocab and token not in numbered:
                numbered[token] = following
                following += 1
        return numbered

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.files, self.config, self._listed_tokens)

    def __len__(self) -> int:
        return max(self._tokens) + 1

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens, as PaddleNLP reports it."""
        return len(self.vocab)

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return list(dict.fromkeys([*self.special_tokens.values(), *self.additional_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the special tokens."""
        return [self.convert_token_to_id(token) for token in self.all_special_tokens]

    def special_token_id(self, name: str) -> int:
        token = self.special_tokens.get(name)
        index = self._find(token) if token is not None else None
        if index is None:
            raise UsageError(
                "no-special-token",
                "{tokenizer} has no {name}",
                tokenizer=type(self).__name__,
                name=name.replace("_", " "),
            )
        return index

    def _find(self, token: str) -> int | None:
        index = self.vocab.get(token)
        return self.added_tokens.get(token) if index is None else index

    def convert_token_to_id(self, token: str) -> int:
        """Id of a token, that of the unknown token if there is none."""
        index = self._find(token)
        return self.vocab[self.special_tokens["unk_token"]] if index is None else index

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Ids of tokens."""
        return [self.convert_token_to_id(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Sequence[int], skip_special_tokens: bool = False) -> list[str]:
        """Tokens of ids; the unknown token for ids that nothing has.

        Args:
            ids: token ids.
            skip_special_tokens: leave special tokens out.
        """
        unknown = self.special_tokens["unk_token"]
        tokens = [self._tokens.get(int(index), unknown) for index in ids]
        if skip_special_tokens:
            specials = set(self.all_special_ids)
            tokens = [token for token, index in zip(tokens, ids, strict=True) if int(index) not in specials]
        return tokens

    @abstractmethod
    def read_vocab(self) -> dict[str, int]:
        """Id of each token of the vocabulary, from `files`."""

    @abstractmethod
    def encode_pieces(self, texts: Sequence[str]) -> Pieces:
        """Tokens of texts without special tokens around them, with their places in the texts."""

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Tokens of a text, as strings; those that the vocabulary lacks stay as they are where PaddleNLP's do."""

    @abstractmethod
    def offsets(self, text: str) -> list[tuple[int, int]]:
        """PaddleNLP's character offsets of the tokens of a text (see `zoo_cli.tokenizers.offsets`)."""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Text of tokens before the clean-up of `decode`."""
        return " ".join(tokens)

    def frame(self, pair: bool) -> Frame:
        """Special tokens around one text or two."""
        cls, sep = self.cls_token_id, self.sep_token_id
        return Frame([cls], [sep] if pair else [], [sep])

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        upstream_offsets: bool = False,
    ) -> list[Encoding]:
        if isinstance(texts, str) or isinstance(pairs, str):
            raise UsageError("texts-type", "a batch is a list of texts, not one text", fix="put the text into a list")
        if pairs is not None and len(pairs) != len(texts):
            raise UsageError(
                "pairs-length",
                "there are {texts} first texts but {pairs} second texts",
                texts=len(texts),
                pairs=len(pairs),
            )
        frame = self.frame(pairs is not None) if add_special_tokens else Frame([], [], [])
        self._check_room(max_length, frame)
        first = self.encode_pieces(texts)
        second = self.encode_pieces(pairs) if pairs is not None else None
        if upstream_offsets:
            self._use_upstream_offsets(texts, first)
            if pairs is not None and second is not None:
                self._use_upstream_offsets(pairs, second)
        return assemble(first, second, frame, max_length)[0]

    def encode_words(
        self, words: Sequence[Sequence[str]], max_length: int | None = None
    ) -> list[tuple[Encoding, np.ndarray]]:
        frame = self.frame(False)
        self._check_room(max_length, frame)
        pieces = self.encode_pieces([word for text in words for word in text])
        sizes = np.array([len(text) for text in words], np.int64)
        index_in_text = np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)])
        word_of_piece = np.append(np.repeat(index_in_text, pieces.counts), -1)  # the last answers for specials: [-1]
        ends = np.cumsum(np.append(0, pieces.counts))[np.cumsum(np.append(0, sizes))]
        encodings, source = assemble(Pieces(pieces.ids, pieces.offsets, np.diff(ends)), None, frame, max_length)
        word_ids = np.split(word_of_piece[source], np.cumsum([len(encoding.ids) for encoding in encodings])[:-1])
        return list(zip(encodings, word_ids, strict=False))  # np.split of nothing gives one empty part

    @staticmethod
    def _check_room(max_length: int | None, frame: Frame) -> None:
        if max_length is not None and max_length < frame.size:
            raise UsageError(
                "max-length",
                "max_length {max_length} leaves no room for {specials} special tokens",
                max_length=max_length,
                specials=frame.size,
            )

    def _use_upstream_offsets(self, texts: Sequence[str], pieces: Pieces) -> None:
        ends = np.cumsum(pieces.counts)
        for text, count, end in zip(texts, pieces.counts.tolist(), ends.tolist(), strict=True):
            spans = self.offsets(text)
            if len(spans) == count:
                pieces.offsets[end - count : end] = np.array(spans, np.int64).reshape(-1, 2)

    def decode(
        self, ids: Sequence[int], skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = True
    ) -> str:
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
        parts: list[str] = []
        run: list[str] = []
        for token in tokens:
            if token in self.added_tokens:
                parts += [self.convert_tokens_to_string(run)] if run else []
                parts.append(token)
                run = []
            else:
                run.append(token)
        parts += [self.convert_tokens_to_string(run)] if run else []
        text = " ".join(parts)
        if clean_up_tokenization_spaces:
            for spaced, close in _CLEAN_UP:
                text = text.replace(spaced, close)
        return text

    def save(self, folder: str | PathLike[str]) -> None:
        target = Path(folder)
        for role, name in self.resource_files_names.items():
            if role in self.files:
                with atomic_file(target / name) as partial:
                    partial.write_bytes(self.files[role].data)
        if self._listed_tokens:
            write_json(target / ADDED_TOKENS_FILE, self._listed_tokens)
        write_json(target / CONFIG_FILE, {**self.config, "tokenizer_class": type(self).__name__})
