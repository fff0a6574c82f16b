"""Tokenizers of the recorded vocabularies and of the bundled samples."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from zoo_cli.base.resources import locate
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

VOCABS = Path(__file__).parents[1] / "golden" / "cases" / "tokenizers" / "vocabs"

KINDS = {
    "ErnieTokenizer": "ernie",
    "BertTokenizer": "bert",
    "UNIMOTokenizer": "unimo",
    "ErnieMTokenizer": "ernie_m",
    "UnifiedTransformerTokenizer": "unified_transformer",
    "GPTTokenizer": "gpt",
    "GPTChineseTokenizer": "gpt_cn",
    "ErnieDocBPETokenizer": "ernie_doc_en",
}
SAMPLES = ("wordpiece", "ernie_m", "unified_transformer", "gpt_cn", "gpt", "ernie_doc_en")


@cache
def tokenizer_of(kind: str) -> PretrainedTokenizer:
    """The tokenizer of a class on its recorded vocabulary."""
    return load(VOCABS / KINDS[kind], kind)


@cache
def sample(name: str) -> PretrainedTokenizer:
    """A tokenizer on a bundled sample vocabulary."""
    return load(locate(f"sample:vocab/{name}"))
