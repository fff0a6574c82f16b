"""Sentences of Chinese and English text, by rules.

A line end always ends a sentence. So do the Chinese full stop, question and exclamation mark, semicolon and ellipsis,
with the closing quotes and brackets behind them. A Latin full stop, question or exclamation mark does so if white space
and something that may begin a sentence follow, and the word before is no abbreviation and no initial.
"""

from __future__ import annotations

import re

_CLOSING = "”’」』）】》\"')\\]"
_END = re.compile(
    rf"[。！？；…｡]+[!?！？。…]*[{_CLOSING}]*"  # Chinese marks end a sentence wherever they are
    rf"|[!?.]+[{_CLOSING}]*(?=\s+[^\s])"
)
_LAST_WORD = re.compile(r"[^\s(\[“‘\"']+$")
_ABBREVIATED = (
    "mr mrs ms dr prof rev hon st sr jr gen col capt lt sgt cmdr adm gov sen rep pres ph.d m.d b.a m.a "
    "e.g i.e cf viz vs al approx ca est fig figs eq eqs sec ch vol vols no nos pp p ed eds op cit "
    "inc ltd co corp dept univ assn bros ave blvd rd mt ft "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun "
    "u.s u.k u.n e.u d.c a.m p.m"
)
_LAST = "inc ltd co corp a.m p.m u.s u.k u.n e.u d.c jr sr ph.d m.d b.a m.a"
_FIRST = (
    "the a an this that these those he she it we they i you his her its our their my in on at for but and so if when "
    "while after before as there however although since what why how who where"
)
_ABBREVIATIONS, _MAY_END_A_SENTENCE, _SENTENCE_STARTERS = (
    frozenset(words.split()) for words in (_ABBREVIATED, _LAST, _FIRST)
)
_INITIAL = re.compile(r"(?:[A-Za-z]\.)*[A-Z]")
_FIRST_WORD = re.compile(r"\s*[“‘\"'(\[]*([^\W\d_]*)")


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, stripped of white space around them; empty ones are left out."""
    sentences = []
    for line in text.splitlines():
        start = 0
        for match in _END.finditer(line):
            if _ends_sentence(line, start, match):
                sentences.append(line[start : match.end()])
                start = match.end()
        sentences.append(line[start:])
    return [stripped for sentence in sentences if (stripped := sentence.strip())]


def split_lines(text: str) -> list[str]:
    """Lines of a text, stripped; empty ones are left out."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def _ends_sentence(line: str, start: int, match: re.Match[str]) -> bool:
    """Whether a mark ends the sentence that began at `start`."""
    mark = match.group()
    if mark[0] not in ".!?":
        return True
    following = _FIRST_WORD.match(line, match.end())
    assert following is not None  # the pattern matches the empty string
    next_word = following.group(1)
    if next_word[:1].islower():
        return False
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    word = _LAST_WORD.search(line, start, match.start())
    if word is None:
        return False  # a lone full stop, as in "1 . 2" of tokenized text
    plain = word.group().rstrip(".").lower()
    if plain in _ABBREVIATIONS or _INITIAL.fullmatch(word.group()):
        # "by 10 p.m. The next day": only a word that begins sentences tells.
        return plain in _MAY_END_A_SENTENCE and next_word.lower() in _SENTENCE_STARTERS
    return not (plain.isdigit() and not line[start : word.start()].strip())  # "1. First" numbers a list
