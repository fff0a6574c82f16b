"""Vocabularies trained on a user's own text, as folders that `zoo_cli.tokenizers.load` reads.

WordPiece and byte-level BPE are learnt by the `tokenizers` library from counts of words, SentencePiece by its own
library from a random sample of the text. The text streams through; the same text gives the same files.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.files import atomic_folder, write_json
from zoo_cli.data.corpus.reading import Faults, ReadingOptions, find_files, plan_pieces, read_piece
from zoo_cli.data.corpus.segment import load_segmenter
from zoo_cli.tokenizers.characters import is_cjk, is_split_off

Kind = Literal["wordpiece", "byte-bpe", "sentencepiece"]

KINDS: dict[str, Kind] = {
    "BertTokenizer": "wordpiece",
    "TinyBertTokenizer": "wordpiece",
    "ElectraTokenizer": "wordpiece",
    "ErnieTokenizer": "wordpiece",
    "GPTTokenizer": "byte-bpe",
    "GPTChineseTokenizer": "sentencepiece",
    "ErnieMTokenizer": "sentencepiece",
    "UnifiedTransformerTokenizer": "sentencepiece",
}
"""Tokenizers that can be trained, and how."""

_PIECE_BYTES = 1 << 23
_SPECIAL = {
    "ErnieTokenizer": ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"],
    "BertTokenizer": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
}
_COVERAGE = 0.9995
"""Share of all characters that SentencePiece has pieces for; the rarest ones become the unknown token."""
_SPACE, _NEWLINE = "▂", "▃"  # what GPTChineseTokenizer writes for white space


@dataclass(frozen=True)
class VocabularyOptions:
    """What is learnt.

    Args:
        tokenizer: class name, one of `KINDS`.
        size: number of tokens, special ones included.
        lower_case: fold case and accents (WordPiece only).
        min_frequency: a token that occurs less often is not learnt (WordPiece and byte-level BPE).
        alphabet: most different characters that get a token (WordPiece only); None means all.
        sample_sentences: lines that SentencePiece learns from, drawn at random if there are more.
        seed: of that draw.
    """

    tokenizer: str = "ErnieTokenizer"
    size: int = 40_000
    lower_case: bool = True
    min_frequency: int = 2
    alphabet: int | None = None
    sample_sentences: int = 2_000_000
    seed: int = 0


def train_vocabulary(
    inputs: Sequence[Path], output: Path, reading: ReadingOptions, options: VocabularyOptions, force: bool = False
) -> dict[str, Any]:
    """Train a tokenizer and write its folder.

    Args:
        inputs: files and folders, see `find_files`.
        output: the folder.
        reading: how the text is written.
        options: what is learnt.
        force: replace a folder that is there.

    Returns:
        Class, number of tokens, lines read, and faults by kind.

    Raises:
        UsageError: the tokenizer cannot be trained (`bad-option`), or the folder exists (`output-exists`).
        DataError: there is no text (`empty-corpus`), or too little of it for the size (`small-data`).
    """
    kind = KINDS.get(options.tokenizer)
    if kind is None:
        raise UsageError(
            "bad-option",
            "{name} cannot be trained",
            fix="choose one of {known}",
            name=options.tokenizer,
            known=", ".join(KINDS),
        )
    if output.exists() and not force:
        raise UsageError(
            "output-exists", "the output is there already", at=Location.of(output), fix="replace it with --force"
        )
    files, _ = find_files(inputs)
    text = _Lines(files, reading)
    with atomic_folder(output) as folder:
        count = _TRAINERS[kind](text, folder, options)
    return {"tokenizer": options.tokenizer, "size": count, "lines": text.count, "faults": dict(text.faults.counts)}


class _Lines:
    """Lines of text files; counts lines and faults each time it is read."""

    def __init__(self, files: Sequence[Path], reading: ReadingOptions) -> None:
        self._files, self._reading = files, reading
        self.faults, self.count = Faults(), 0

    def __iter__(self) -> Iterator[str]:
        self.faults, self.count = Faults(), 0
        for piece in plan_pieces(self._files, _PIECE_BYTES):
            for text in read_piece(piece, self._reading, self.faults):
                for line in (text or "").split("\n"):
                    if line.strip():
                        self.count += 1
                        yield line
        if not self.count:
            raise DataError("empty-corpus", "there is no text in the input", fix="look at --format and --json-key")


def _too_small(wanted: int, found: int) -> DataError:
    return DataError(
        "small-data",
        "the text is too little for {wanted} tokens, it gives {found}",
        fix="add text, or ask for a smaller vocabulary",
        wanted=wanted,
        found=found,
    )


def _write_config(folder: Path, tokenizer: str, **entries: Any) -> None:
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": tokenizer, **entries})


def _write_lines(folder: Path, name: str, lines: Sequence[str]) -> None:
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _train_wordpiece(text: _Lines, folder: Path, options: VocabularyOptions) -> int:
    special = _SPECIAL.get(options.tokenizer, _SPECIAL["BertTokenizer"])
    engine = Engine(models.WordPiece(unk_token="[UNK]"))
    lower = options.lower_case
    engine.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=lower, lowercase=lower
    )
    # Symbols are words of their own, as in `zoo_cli.tokenizers.characters`.
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(Regex(r"\p{S}"), "isolated")]
    )
    characters = _characters(text, engine.normalizer, options.alphabet)
    inner = [f"##{char}" for char in characters if not is_cjk(char) and not is_split_off(char)]
    if len(special) + len(characters) + len(inner) > options.size:
        raise UsageError(
            "bad-option",
            "the characters of the text alone make {count} tokens",
            fix="limit them with --alphabet, or ask for a larger vocabulary",
            count=len(special) + len(characters) + len(inner),
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=options.size,
        min_frequency=options.min_frequency,
        # The library would number characters in an order that changes from run to run, and with it what it learns.
        special_tokens=[*special, *characters, *inner],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    engine.train_from_iterator(iter(text), trainer)
    found = engine.get_vocab()
    tokens = sorted(found, key=found.__getitem__)
    _write_lines(folder, "vocab.txt", tokens)
    _write_config(folder, options.tokenizer, do_lower_case=lower)
    return len(tokens)


def _characters(text: _Lines, normalizer: normalizers.Normalizer, limit: int | None) -> list[str]:
    """The most frequent characters of a text, by code point."""
    counts: Counter[str] = Counter()
    for line in text:
        counts.update(normalizer.normalize_str(line))
    ranked = sorted((char for char in counts if not char.isspace()), key=lambda char: (-counts[char], char))
    return sorted(ranked[:limit])


def _train_byte_bpe(text: _Lines, folder: Path, options: VocabularyOptions) -> int:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if options.size < len(alphabet) + 1:
        raise UsageError("bad-option", "a byte-level vocabulary has at least {least} tokens", least=len(alphabet) + 1)
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=options.size,
        min_frequency=options.min_frequency,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    engine.train_from_iterator((f"{line}\n" for line in text), trainer)
    learnt = json.loads(engine.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in learnt["merges"]]
    vocabulary = dict(sorted(learnt["vocab"].items(), key=lambda item: item[1]))
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    _write_lines(folder, "merges.txt", ["#version: 0.2", *merges])
    _write_config(folder, options.tokenizer)
    return len(vocabulary)


def _train_sentencepiece(text: _Lines, folder: Path, options: VocabularyOptions) -> int:
    chinese = options.tokenizer == "GPTChineseTokenizer"
    lines = _sample(text, options.sample_sentences, options.seed)
    extra: dict[str, Any] = {}
    reserved = 0
    if chinese:
        segmenter = load_segmenter("jieba")
        lines = [
            " ".join(word.replace(" ", _SPACE).replace("\n", _NEWLINE) for word in words)
            for words in segmenter.cut(lines)
        ]
        extra = {
            "control_symbols": ["<mask>", "<cls>", "<sep>", "<pad>", "<eod>", "<bod>"],
            "user_defined_symbols": [_SPACE, _NEWLINE],
        }
    else:
        reserved = 5 if options.tokenizer == "ErnieMTokenizer" else 7  # tokens of `vocab.txt` that are not the model's
    model = _learn_pieces(lines, options, options.size - reserved + (0 if chinese else 3), extra)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    plain = [piece for index, piece in enumerate(pieces) if not processor.is_control(index) and piece != "<unk>"]
    if chinese:
        (folder / "sentencepiece.model").write_bytes(model)
        count = len(pieces)
    elif options.tokenizer == "ErnieMTokenizer":
        tokens = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *plain, "[MASK]"]
        _write_lines(folder, "vocab.txt", tokens)
        (folder / "sentencepiece.bpe.model").write_bytes(model)
        count = len(tokens)
    else:
        tokens = ["[UNK]", "[CLS]", "[SEP]", *plain, "[MASK]", "[CHAT]", "[KNOW]", "[RECO]"]
        _write_lines(folder, "vocab.txt", [f"{token}\t{index}" for index, token in enumerate(tokens)])
        (folder / "spm.model").write_bytes(model)
        count = len(tokens)
    _write_config(folder, options.tokenizer)
    return count


def _learn_pieces(lines: Sequence[str], options: VocabularyOptions, size: int, extra: dict[str, Any]) -> bytes:
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                vocab_size=size,
                model_type="unigram",
                character_coverage=_COVERAGE,
                hard_vocab_limit=False,
                max_sentence_length=1 << 16,
                num_threads=1,  # more make the order of sums, and so the pieces, depend on chance
                minloglevel=2,
                **extra,
            )
        except RuntimeError as error:
            raise _too_small(options.size, 0) from error
    return model.getvalue()


def _sample(text: _Lines, count: int, seed: int) -> list[str]:
    """At most `count` lines, each as likely as any other, in their order (reservoir sampling)."""
    generator = random.Random(seed)
    kept: list[tuple[int, str]] = []
    for number, line in enumerate(text):
        if len(kept) < count:
            kept.append((number, line))
        elif (place := generator.randrange(number + 1)) < count:
            kept[place] = (number, line)
    return [line for _, line in sorted(kept)]


_TRAINERS = {"wordpiece": _train_wordpiece, "byte-bpe": _train_byte_bpe, "sentencepiece": _train_sentencepiece}
