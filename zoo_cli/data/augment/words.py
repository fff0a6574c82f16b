"""Words of a text that may be replaced by others: runs of letters, and jieba's words in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from zoo_cli.tokenizers.characters import is_cjk
from zoo_cli.tokenizers.words import cut_words

_LETTERS = re.compile(r"[^\W\d_]+")

_GRAMMAR = """
a about above after again against all also although am among an and another any anybody anyone anything are aren
around as at away be became because become been before behind being below beneath beside besides between beyond both
but by can cannot could couldn did didn do does doesn doing don done down during each either else enough even ever
every everybody everyone everything except few for from further had hadn has hasn have haven having he hence her here
hers herself him himself his how however if in inside into is isn it its itself just least less let like ll many may
me might mightn mine more most much must mustn my myself near neither never no nobody none nor not nothing now nowhere
of off often on once one only onto or other others ought our ours ourselves out outside over own per rather re same
shall shan she should shouldn since so some somebody someone something such than that the their theirs them themselves
then there therefore these they this those though through thus till to together too toward towards under unless until
up upon us ve very was wasn we were weren what whatever when whenever where wherever whether which while who whoever
whom whose why will with within without won would wouldn yet you your yours yourself yourselves
的 地 得 了 着 过 是 在 有 和 与 及 或 而 且 但 并 则 若 虽 因 于 以 为 从 自 向 到 被 把 将 对 让
给 比 跟 同 就 都 也 还 又 再 才 只 很 更 最 太 不 没 无 非 未 别 莫 否 吗 呢 吧 啊 呀 哦 嘛 么 我
你 您 他 她 它 们 这 那 哪 谁 其 之 此 某 每 各 个 些 所 等 上 下 中 里 外 前 后 时 会 能 可 要 应
该 须 没有 不是 不能 不会 不要 不可 并不 从不 从未 绝不 毫无 我们 你们 他们 她们 它们 自己 这个
那个 这些 那些 这里 那里 什么 怎么 如何 为何 哪里 哪个 因为 所以 如果 虽然 但是 然而 而且 并且 或者
以及 还是 可以 可能 应该 必须 一个 一些 一种
"""
STOP_WORDS = frozenset(_GRAMMAR.split())
"""Words that carry grammar or negation: another in their place changes what a sentence says, and so its label."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word in a text.

    Args:
        start: offset of its first character.
        end: offset after its last character.
        text: the characters.
    """

    start: int
    end: int
    text: str


def words_of(text: str) -> Iterator[Word]:
    """All words of a text, in order; numbers, punctuation and white space are none.

    Raises:
        PlatformError: the text has Chinese in it and jieba is not installed (`missing-package`).
    """
    if any(map(is_cjk, text)):
        start = 0
        for part in cut_words(text):
            if all(map(is_cjk, part)):
                yield Word(start, start + len(part), part)
            else:
                yield from _runs(part, start)
            start += len(part)
    else:
        yield from _runs(text, 0)


def _runs(text: str, base: int) -> Iterator[Word]:
    """Runs of letters, Chinese ones apart from others."""
    for match in _LETTERS.finditer(text):
        start = base + match.start()
        for _, group in groupby(match.group(), is_cjk):
            run = "".join(group)
            yield Word(start, start + len(run), run)
            start += len(run)


def is_chinese(word: str) -> bool:
    """Whether a word is written in Chinese characters."""
    return is_cjk(word[0])


def is_replaceable(word: str) -> bool:
    """Whether a word may be replaced, and be put in the place of another: it means something by itself."""
    return word.isalpha() and word.lower() not in STOP_WORDS and (len(word) > 1 or is_chinese(word))
