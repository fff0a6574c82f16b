"""BLEU, ROUGE and Distinct, against sacreBLEU, rouge-score, and their definitions."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.tasks.text_scores import TextScores, longest_common_subsequence, rouge_l, rouge_n, score_words

TEXTS = st.lists(st.sampled_from("天地玄黄宇"), min_size=1, max_size=12).map("".join)
PAIRS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5)


def test_words_are_those_of_the_basic_tokenizer() -> None:
    assert score_words("我爱NLP，Café 3.5℃！") == ["我", "爱", "nlp", "，", "cafe", "3", ".", "5", "℃", "！"]
    assert score_words("a\u200bb\tc\n") == ["ab", "c"]
    assert score_words(" \n") == []


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_bleu_is_that_of_sacrebleu(pairs: list[tuple[str, list[str]]]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    scores = TextScores()
    for text, references in pairs:
        scores.add(text, references)
    most = max(len(references) for _, references in pairs)
    columns = [[" ".join(gold[i]) if i < len(gold) else None for _, gold in pairs] for i in range(most)]
    hypotheses = [" ".join(text) for text, _ in pairs]
    for order in (2, 4):
        metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
        expected = metric.corpus_score(hypotheses, columns).score / 100
        assert scores.bleu(order) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS)
def test_rouge_is_that_of_rouge_score(text: str, reference: str) -> None:
    scorer_module = pytest.importorskip("rouge_score.rouge_scorer")

    class Characters:
        def tokenize(self, text: str) -> list[str]:
            return list(text)

    scorer = scorer_module.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Characters())
    expected = scorer.score(reference, text)
    assert rouge_n(text, reference, 1) == pytest.approx(expected["rouge1"].fmeasure)
    assert rouge_n(text, reference, 2) == pytest.approx(expected["rouge2"].fmeasure)
    assert rouge_l(text, reference) == pytest.approx(expected["rougeL"].fmeasure)


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_longest_common_subsequence(first: str, second: str) -> None:
    def subsequences(text: str) -> set[tuple[str, ...]]:
        return {part for size in range(len(text) + 1) for part in combinations(text, size)}

    expected = max(len(part) for part in subsequences(first) & subsequences(second))
    assert longest_common_subsequence(first, second) == expected


def test_scores_of_a_corpus() -> None:
    scores = TextScores()
    scores.add("天地玄黄", ["天地玄黄", "宇"])
    scores.add("天地", ["天地玄黄"])
    result = scores.result()
    # 6 of 6 words, 4 of 4 pairs, 2 of 2 triples, 1 of 1 fours; 6 words for the 8 of the closest references.
    assert result["bleu_4"] == pytest.approx(math.exp(1 - 8 / 6))
    assert result["rouge_1"] == pytest.approx((1 + 2 * 2 / 6) / 2)
    assert result["distinct_1"] == pytest.approx(4 / 6)
    assert result["distinct_2"] == pytest.approx(3 / 4)


def test_nothing_generated_scores_nothing() -> None:
    assert set(TextScores().result().values()) == {0.0}
    scores = TextScores()
    scores.add("", ["天地玄黄"])
    assert set(scores.result().values()) == {0.0}
