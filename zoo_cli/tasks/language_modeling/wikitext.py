"""The tokenisation of WikiText (Merity et al., 2016) taken back.

The rules are those with which the published perplexities of GPT models were computed (evaluations of Megatron-LM and
PaddleNLP); one that only looks between slashes is left out.
"""

from __future__ import annotations

import re

_BRACKETED = [
    (re.compile(rf"{left}\s*([^{right}]*?)\s*{right}"), rf"{open_}\1{close}")
    for left, right, open_, close in (
        (r"\(", r"\)", "(", ")"),
        (r"\[", r"\]", "[", "]"),
        (r"{", r"}", "{", "}"),
        ('"', '"', '"', '"'),
        ("'", "'", "'", "'"),
    )
]
_BEFORE = [("s '", "s'"), *((f" @{sign}@ ", sign) for sign in "-,."), *((f" {sign} ", f"{sign} ") for sign in ":;.!?,")]
_AFTER = [
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" ° ", "°"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
]


def detokenize(text: str) -> str:
    """WikiText as it was before it was tokenised, as far as it can be told."""
    for old, new in _BEFORE:
        text = text.replace(old, new)
    for pattern, form in _BRACKETED:
        text = pattern.sub(form, text)
    for old, new in _AFTER:
        text = text.replace(old, new)
    return text
