"""Make the sample vocabularies that `--tiny` runs and tests use.

    python tools/make_sample_vocab.py [FOLDER]

FOLDER defaults to `zoo_cli/data/samples/vocab`. Everything comes from `sample_sentences.txt`, which was written for
this project, and from the character set of GB 2312; nothing is downloaded. Needs jieba. Chinese characters are all
those of GB 2312 level 1, so that any everyday Chinese text has few unknown tokens. The same files come out each time.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import jieba
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = Path(__file__).with_name("sample_sentences.txt").read_text(encoding="utf-8").splitlines()
CHINESE_PUNCTUATION = "，。、；：？！“”‘’（）《》【】「」『』—…·～￥％℃"
ASCII = [char for char in string.printable if not char.isspace()]

# SentencePiece's own normalisers take 240 kB; these rules do what the samples need.
NORMALIZATION = {0x3000: 0x20, 0x09: 0x20, 0x0A: 0x20, 0x0D: 0x20} | {c: c - 0xFEE0 for c in range(0xFF01, 0xFF5F)}


def chinese_characters() -> list[str]:
    """The 3755 characters of GB 2312 level 1, in its order."""
    codes = (bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    return [char for char in (code.decode("gb2312", "ignore") for code in codes) if char]


def english(sentences: Iterable[str]) -> list[str]:
    return [sentence for sentence in sentences if sentence.isascii()]


def english_pieces() -> list[str]:
    """Frequent words, and frequent parts of words as `##` pieces."""
    words = Counter(re.findall("[a-z]+", " ".join(english(SENTENCES)).lower()))
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(1, len(word)):
            parts.update({word[start:end]: count for end in range(start + 2, min(start + 4, len(word)) + 1)})
    return [
        *(word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0]))[:600]),
        *(f"##{part}" for part, _ in sorted(parts.items(), key=lambda item: (-item[1], item[0]))[:300]),
    ]


def write(folder: Path, name: str, lines: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_config(folder: Path, tokenizer_class: str, **entries: object) -> None:
    write(folder, "tokenizer_config.json", [json.dumps({"tokenizer_class": tokenizer_class, **entries}, indent=2)])


def wordpiece(folder: Path) -> None:
    """A `vocab.txt` in ERNIE's order of special tokens."""
    letters = [char for char in ASCII if char.isalnum()]
    tokens = [
        *("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[O-MASK]"),
        *ASCII,
        *(f"##{char}" for char in letters),
        *CHINESE_PUNCTUATION,
        *chinese_characters(),
        *english_pieces(),
    ]
    write(folder, "vocab.txt", list(dict.fromkeys(tokens)))
    write_config(folder, "ErnieTokenizer", do_lower_case=True, additional_special_tokens=["[O-MASK]"])


def train_sentencepiece(sentences: Iterable[str], vocab_size: int, **options: object) -> bytes:
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the model records the path of the rules
        rules = Path("rules.tsv")
        rules.write_text("".join(f"{source:X}\t{target:X}\n" for source, target in NORMALIZATION.items()))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="unigram",
            character_coverage=1.0,
            required_chars="".join([*chinese_characters(), *CHINESE_PUNCTUATION, *ASCII]),
            normalization_rule_tsv=str(rules),
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            **options,
        )
    return model.getvalue()


def pieces_of(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(index) for index in range(processor.get_piece_size())]


def ernie_m(folder: Path) -> None:
    model = train_sentencepiece(SENTENCES, 4500)
    plain = [piece for piece in pieces_of(model) if not piece.startswith("<")]
    write(folder, "vocab.txt", ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *dict.fromkeys(plain), "[MASK]"])
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    write_config(folder, "ErnieMTokenizer")


def unified_transformer(folder: Path) -> None:
    model = train_sentencepiece(SENTENCES, 4500)
    plain = [piece for piece in pieces_of(model) if not piece.startswith("<")]
    tokens = ["[UNK]", "[CLS]", "[SEP]", *plain, "[MASK]", "[CHAT]", "[KNOW]", "[RECO]"]
    write(folder, "vocab.txt", [f"{token}\t{index}" for index, token in enumerate(tokens)])
    (folder / "spm.model").write_bytes(model)
    write_config(folder, "UnifiedTransformerTokenizer")


def gpt_cn(folder: Path) -> None:
    cut = [" ".join(jieba.cut(sentence)).replace("  ", " ▂ ") for sentence in SENTENCES]
    model = train_sentencepiece(
        cut,
        4500,
        control_symbols=["<mask>", "<cls>", "<sep>", "<pad>", "<eod>", "<bod>"],
        user_defined_symbols=["▂", "▃"],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentencepiece.model").write_bytes(model)
    write_config(folder, "GPTChineseTokenizer")


def train_byte_bpe(sentences: Iterable[str], vocab_size: int, special: list[str]) -> tuple[dict[str, int], list[str]]:
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(sentences, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    vocab = dict(sorted(learner.get_vocab().items(), key=lambda item: item[1]))
    return vocab, ["#version: 0.2", *(" ".join(merge) for merge in merges)]


def gpt(folder: Path) -> None:
    vocab, merges = train_byte_bpe(SENTENCES, 2000, ["<|endoftext|>"])
    write(folder, "merges.txt", merges)
    write(folder, "vocab.json", [json.dumps(vocab, ensure_ascii=False)])
    write_config(folder, "GPTTokenizer")


def ernie_doc_en(folder: Path) -> None:
    encoder, merges = train_byte_bpe(english(SENTENCES), 1500, [])
    write(folder, "vocab.bpe", merges)
    write(folder, "encoder.json", [json.dumps(encoder, ensure_ascii=False)])
    write(folder, "vocab.txt", ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *map(str, encoder.values())])
    write_config(folder, "ErnieDocBPETokenizer")


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "zoo_cli" / "data" / "samples" / "vocab"
    for make in (wordpiece, ernie_m, unified_transformer, gpt_cn, gpt, ernie_doc_en):
        make(target / make.__name__)


if __name__ == "__main__":
    main()
