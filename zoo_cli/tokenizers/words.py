"""Chinese word segmentation by jieba, an optional dependency."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from zoo_cli.base.errors import PlatformError


@cache
def _segmenter() -> Any:
    try:
        import jieba
    except ImportError as error:
        raise PlatformError(
            "missing-package",
            "Chinese word segmentation needs the package jieba",
            fix="pip install jieba, which the extra 'serve' includes",
        ) from error
    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.initialize()
    return segmenter


def cut_words(text: str) -> list[str]:
    """Words of a text, white space included, which joined give the text again.

    Raises:
        PlatformError: jieba is not installed (`missing-package`).
    """
    return list(_segmenter().cut(text))
