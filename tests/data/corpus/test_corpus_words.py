"""Words of texts, and their marks among the token ids."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.corpus.corpora import sentences, tokenizer
from zoo_cli.base.errors import UsageError
from zoo_cli.data.corpus.marks import FIRST, LAST, mark_words, word_forms
from zoo_cli.data.corpus.segment import SeparatedWords, load_segmenter

jieba = pytest.importorskip("jieba")
jieba.setLogLevel(logging.WARNING)


@pytest.fixture(scope="module")
def segmenter():
    return load_segmenter("jieba")


def test_the_words_are_those_of_jieba(segmenter) -> None:
    texts = [*sentences(), "", " ", "\r\n\n", "a" * 1000, "的" * 900, "𠮷野家\ud83d", "、" * 50]
    assert segmenter.cut(texts) == [list(jieba.cut(text)) for text in texts]


CHARACTERS = st.sampled_from(
    "中国人民银行大学生命研究的了是不在京东北南市长江桥龘靐鱻abcAB129.%+#&-_ \t\r\n，。！“”\0𠮷é"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(CHARACTERS, max_size=60), max_size=8))
def test_the_words_are_those_of_jieba_for_any_text(texts: list[str]) -> None:
    assert load_segmenter_once().cut(texts) == [list(jieba.cut(text)) for text in texts]


_loaded = []


def load_segmenter_once():
    if not _loaded:
        _loaded.append(load_segmenter("jieba"))
    return _loaded[0]


def test_batches_do_not_change_the_words(segmenter) -> None:
    texts = sentences() * (200_000 // sum(map(len, sentences())) + 1)
    assert segmenter.cut(texts) == [segmenter.cut([text])[0] for text in sentences()] * (len(texts) // len(sentences()))


def test_separated_words() -> None:
    assert SeparatedWords().cut(["我 爱 北京", "a  b", "x   y", ""]) == [
        ["我", "爱", "北京"],
        ["a", "b"],
        ["x", " ", "y"],
        [],
    ]
    assert load_segmenter("separated:|").cut(["一|二"]) == [["一", "二"]]


def test_any_function_is_a_segmenter() -> None:
    assert load_segmenter("re:escape").cut(["ab"]) == [["a", "b"]]  # a function of one text


@pytest.mark.parametrize("name", ["lac", "no_such_module:cut", "re:no_such_function", ":"])
def test_unknown_segmenters_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no segmenter"):
        load_segmenter(name)


def test_forms_lie_behind_the_vocabulary_in_the_order_of_ids() -> None:
    loaded = tokenizer()
    forms = word_forms(loaded)
    chinese = sorted(index for token, index in loaded.vocab.items() if len(token) == 1 and FIRST <= ord(token) <= LAST)
    assert forms.form[chinese].tolist() == list(range(len(loaded), len(loaded) + len(chinese)))
    assert forms.plain[forms.form[chinese]].tolist() == chinese
    assert forms.continues[forms.form[chinese]].all()
    assert not forms.continues[chinese].any()
    pieces = [index for token, index in loaded.vocab.items() if token.startswith("##")]
    assert forms.continues[pieces].all()
    assert (forms.plain[pieces] == pieces).all()  # parts of Latin words stay what they are


def test_forms_of_ernie_health_lie_in_the_order_of_unicode() -> None:
    loaded = tokenizer()
    forms = word_forms(loaded, "health")
    assert len(forms) == len(loaded) + LAST - FIRST + 1
    index = loaded.vocab["国"]
    assert forms.form[index] == len(loaded) + ord("国") - FIRST
    assert forms.plain[forms.form[index]] == index


def test_tokenizers_without_wordpiece_have_no_forms() -> None:
    forms = word_forms(tokenizer("gpt"))
    assert not forms.marks_words
    assert not forms.continues.any()


def upstream_marks(tokens: list[str], words: list[str], longest: int) -> list[str]:
    """The rule spelt out: from each Chinese token on, the most tokens that together are one of the words."""
    marked: list[str] = []
    while len(marked) < len(tokens):
        at = len(marked)
        size = 1
        if re.search("[\u4e00-\u9fa5]", tokens[at]):
            fitting = [
                n for n in range(1, longest + 1) if "".join(tokens[at : at + n]) in words and at + n <= len(tokens)
            ]
            size = max(fitting, default=1)
        marked += [tokens[at], *(f"##{token}" for token in tokens[at + 1 : at + size])]
    return marked


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("中国人民的，a", max_size=20), st.lists(st.text("中国人民的", min_size=1, max_size=8), max_size=6)
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([4, 6]),
)
def test_marks_follow_the_rule_of_paddlenlp(cases: list[tuple[str, list[str]]], longest: int) -> None:
    loaded = tokenizer()
    forms = word_forms(loaded)
    tokens = [list(text) for text, _ in cases]
    ids = np.array([loaded.convert_token_to_id(token) for text in tokens for token in text], np.int64)
    counts = np.array([len(text) for text in tokens])
    marked = mark_words(ids, counts, [words for _, words in cases], forms, longest)
    expected = [
        token for text, (_, words) in zip(tokens, cases, strict=True) for token in upstream_marks(text, words, longest)
    ]
    assert forms.plain[marked].tolist() == ids.tolist()
    assert (marked != ids).tolist() == [token.startswith("##") for token in expected]
