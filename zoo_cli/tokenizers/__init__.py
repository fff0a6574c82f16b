"""Floor 2: tokenizers on the `tokenizers` and `sentencepiece` libraries, agreeing with PaddleNLP's. No paddle."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

__all__ = ["load"]


def load(path: str | PathLike[str], class_name: str | None = None, **config: Any) -> PretrainedTokenizer:
    """Load the tokenizer of a model folder; see `zoo_cli.tokenizers.loading.load`."""
    from zoo_cli.tokenizers.loading import load as load_tokenizer

    return load_tokenizer(path, class_name, **config)
