"""Byte-level BPE tokenizers, on the `tokenizers` library: GPT and the English ERNIE-Doc.

The library encodes the texts of a batch in parallel on the cores that the process may use; `TOKENIZERS_PARALLELISM`
turns that off.

Source: "Language Models are Unsupervised Multitask Learners", Radford et al. 2019, and PaddleNLP 2.8.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, processors

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.tokenizers.pieces import Frame
from zoo_cli.tokenizers.segments import SegmentedTokenizer, Span, Tokens, original_span
from zoo_cli.tokenizers.vocabulary import ResourceFile, read_vocabulary

_NEWLINE = "Ċ"
_KEPT_WORDS = re.compile(r"((?:^| )\[(?:SEP|p|q|/q)\](?= |$))")  # of ErnieDocBPETokenizer, with the space in front


def read_json_vocabulary(file: ResourceFile) -> dict[str, int]:
    """Tokens and ids of a `vocab.json`.

    Raises:
        ArtifactError: the file is not a JSON object of numbers, or an id appears twice (`broken-vocabulary`).
    """
    try:
        vocabulary = json.loads(file.text())
    except json.JSONDecodeError as error:
        place = Location(file.path, error.lineno, error.colno)
        raise ArtifactError("broken-vocabulary", "not valid JSON: {reason}", at=place, reason=error.msg) from error
    if not isinstance(vocabulary, dict) or not all(type(index) is int and index >= 0 for index in vocabulary.values()):
        raise ArtifactError(
            "broken-vocabulary", "expected a JSON object of tokens and their ids", at=Location(file.path)
        )
    if not vocabulary or len(set(vocabulary.values())) != len(vocabulary):
        raise ArtifactError(
            "broken-vocabulary", "the vocabulary is empty or an id appears a second time", at=Location(file.path)
        )
    return vocabulary


def read_merges(file: ResourceFile) -> list[tuple[str, str]]:
    """Merges of a `merges.txt`, best first.

    The first line is the version. What follows the last line break is ignored, as in PaddleNLP: a file whose last line
    is not ended loses that merge.

    Raises:
        ArtifactError: a line does not hold two tokens (`broken-vocabulary`, with the line).
    """
    merges = []
    for index, line in enumerate(file.text().split("\n")[1:-1]):
        pair = line.split()
        if len(pair) != 2:
            raise ArtifactError(
                "broken-vocabulary",
                "expected two tokens, found {line!r}",
                at=Location(file.path, index + 2),
                line=line,
            )
        merges.append((pair[0], pair[1]))
    return merges


def byte_level_engine(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], file: ResourceFile, **kw: Any
) -> Engine:
    """GPT-2's byte-level BPE.

    Raises:
        ArtifactError: a merge makes a token that the vocabulary lacks (`broken-vocabulary`).
    """
    for index, (left, right) in enumerate(merges):
        if not {left, right, left + right} <= vocabulary.keys():
            raise ArtifactError(
                "broken-vocabulary",
                "the merge of {left!r} and {right!r} needs tokens that the vocabulary lacks",
                at=Location(file.path, index + 2),
                fix="use the merges and the vocabulary of the same model",
                left=left,
                right=right,
            )
    engine = Engine(models.BPE(vocab=vocabulary, merges=merges, **kw))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    engine.post_processor = processors.ByteLevel(trim_offsets=True)
    engine.decoder = decoders.ByteLevel()
    return engine


class GPTTokenizer(SegmentedTokenizer):
    """GPT's tokenizer. There are no tokens around a text, unless `add_bos_token` is set.

    Args:
        files: `vocab_file`, tokens and ids in JSON, and `merges_file`.
        config: `add_bos_token` (default false) and names of special tokens.
        added_tokens: id of tokens beyond the vocabulary.
    """

    resource_files_names: ClassVar[Mapping[str, str]] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}
    default_special_tokens: ClassVar[Mapping[str, str]] = {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    required_special_tokens: ClassVar[Sequence[str]] = ("unk_token", "pad_token")
    strips_around_unsplit: ClassVar[bool] = False

    def __init__(
        self,
        files: Mapping[str, ResourceFile],
        config: Mapping[str, Any] | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(files, config, added_tokens)
        self.add_bos_token = bool(self.config.get("add_bos_token", False))
        merges = files["merges_file"]
        unknown = self.special_tokens["unk_token"]
        self._engine = byte_level_engine(self.vocab, read_merges(merges), merges, unk_token=unknown)

    def read_vocab(self) -> dict[str, int]:
        return read_json_vocabulary(self.files["vocab_file"])

    @property
    def eol_token_id(self) -> int:
        """Id of the token that stands for a line break."""
        return self.convert_token_to_id(_NEWLINE)

    def frame(self, pair: bool) -> Frame:
        bos = [self.bos_token_id] if self.add_bos_token else []
        return Frame(bos, bos if pair else [], [])

    def word_text(self, word: str) -> str:
        return f" {word}"

    def tokenize_segments(self, segments: list[str]) -> list[Tokens]:
        encodings = self._engine.encode_batch(segments, add_special_tokens=False)
        return [Tokens(encoding.tokens, encoding.ids, encoding.offsets) for encoding in encodings]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return str(self._engine.decoder.decode(list(tokens)))

    def convert_ids_to_string(self, ids: Sequence[int]) -> str:
        """Text of ids."""
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids))


class ErnieDocBPETokenizer(SegmentedTokenizer):
    """Tokenizer of the English ERNIE-Doc.

    Its tokens are the ids of a byte-level BPE written as decimal numbers, and its ids the places of those in
    `vocab.txt`. It adds no special tokens; the model's input ends in [SEP] [CLS], which the caller appends. PaddleNLP
    splits texts into sentences first, each without a space in front of it; here a text is one sentence. The words
    [SEP], [p], [q] and [/q] are tokens.

    Args:
        files: `vocab_file`, one token a line, `encoder_json_path` and `vocab_bpe_path`.
        config: names of special tokens.
        added_tokens: id of tokens beyond the vocabulary.
    """

    resource_files_names: ClassVar[Mapping[str, str]] = {
        "vocab_file": "vocab.txt",
        "encoder_json_path": "encoder.json",
        "vocab_bpe_path": "vocab.bpe",
    }

    def __init__(
        self,
        files: Mapping[str, ResourceFile],
        config: Mapping[str, Any] | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(files, config, added_tokens)
        encoder = read_json_vocabulary(files["encoder_json_path"])
        merges = files["vocab_bpe_path"]
        self._engine = byte_level_engine(encoder, read_merges(merges), merges)

    def read_vocab(self) -> dict[str, int]:
        return read_vocabulary(self.files["vocab_file"])

    def frame(self, pair: bool) -> Frame:
        return Frame([], [], [])

    def tokenize_segments(self, segments: list[str]) -> list[Tokens]:
        collapsed = [_collapse(segment) for segment in segments]
        parts = [[part for part in _KEPT_WORDS.split(text) if part] for text, _ in collapsed]
        plain = [part for text in parts for part in text if not _KEPT_WORDS.fullmatch(part)]
        encodings = iter(self._engine.encode_batch(plain, add_special_tokens=False))
        results = []
        for text, (_, places) in zip(parts, collapsed, strict=True):
            tokens: list[str] = []
            spans: list[Span] = []
            start = 0
            for part in text:
                if _KEPT_WORDS.fullmatch(part):
                    tokens.append(part.lstrip())
                    spans.append((start + len(part) - len(tokens[-1]), start + len(part)))
                else:
                    encoding = next(encodings)
                    tokens += map(str, encoding.ids)
                    spans += [(a + start, b + start) for a, b in encoding.offsets]
                start += len(part)
            offsets = [original_span(span, places) for span in spans]
            results.append(Tokens(tokens, self.convert_tokens_to_ids(tokens), offsets))
        return results

    def search_form(self, token: str) -> str:
        return " ".join(token).strip()


def _collapse(text: str) -> tuple[str, list[int]]:
    """A text with single spaces between its words, and the place of each of its characters in the original."""
    places: list[int] = []
    words: list[str] = []
    position = 0
    for word in text.split():
        start = text.index(word, position)
        if words:
            places.append(position)
        position = start + len(word)
        places += range(start, position)
        words.append(word)
    return " ".join(words), places
