"""What the tests of corpora share: texts, a tokenizer, and corpora of random ids."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np

import zoo_cli
from zoo_cli.data.corpus.format import IDS, Corpus, open_corpus, write_index
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

ROOT = Path(zoo_cli.__file__).parent.parent
VOCABULARIES = Path(zoo_cli.__file__).parent / "data" / "samples" / "vocab"


@cache
def sentences() -> list[str]:
    """The sentences that the sample vocabularies were made from, Chinese and English."""
    return (ROOT / "tools" / "sample_sentences.txt").read_text(encoding="utf-8").splitlines()


@cache
def tokenizer(name: str = "wordpiece") -> PretrainedTokenizer:
    return load(VOCABULARIES / name)


def documents(count: int, seed: int = 0) -> list[list[str]]:
    """Documents of one to nine sentences."""
    generator = random.Random(seed)
    return [generator.choices(sentences(), k=generator.randint(1, 9)) for _ in range(count)]


def write_text(path: Path, count: int, seed: int = 0) -> Path:
    """A text file with a blank line after each document."""
    path.write_text("\n\n".join("\n".join(each) for each in documents(count, seed)) + "\n", encoding="utf-8")
    return path


def random_corpus(prefix: Path, lens: list[list[int]], first_id: int = 10, below: int = 2000, seed: int = 0) -> Corpus:
    """A corpus of random ids with these lengths of the sentences of each document."""
    flat = [length for document in lens for length in document]
    ids = np.random.default_rng(seed).integers(first_id, below, sum(flat)).astype(np.uint16)
    np.save(f"{prefix}{IDS}", ids)
    write_index(str(prefix), np.array(flat), np.cumsum([0, *map(len, lens)]))
    return open_corpus(prefix)


def corpus_bytes(prefix: Path | str) -> list[bytes]:
    """The bytes of the three files of a corpus."""
    return [Path(f"{prefix}{ending}").read_bytes() for ending in ("_ids.npy", "_idx.npz", "_corpus.json")]
