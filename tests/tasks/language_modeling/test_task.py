"""Language modelling: blocks, windows, cloze tests and their scores."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zoo_cli import tokenizers
from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.resources import locate
from zoo_cli.data.examples import TextExample
from zoo_cli.tasks.language_modeling.spec import LanguageModelingOptions
from zoo_cli.tasks.language_modeling.task import LanguageModelingTask
from zoo_cli.tasks.language_modeling.wikitext import detokenize

INPUTS = ("input_ids", "attention_mask")


@cache
def load(name: str = "gpt") -> Any:
    return tokenizers.load(locate(f"sample:vocab/{name}"))


def make(vocabulary: str = "gpt", **options: Any) -> LanguageModelingTask:
    options = {"decoding": {"max_new_tokens": 4}, **options}
    return LanguageModelingTask(LanguageModelingOptions(**options), load(vocabulary), INPUTS)


def tokens(text: str, vocabulary: str = "gpt") -> list[int]:
    return load(vocabulary).encode_batch([text], add_special_tokens=False)[0].ids.tolist()


TEXTS = st.lists(st.text("ab c", min_size=1, max_size=40), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(16, 30))
def test_blocks_hold_all_documents(texts: list[str], length: int) -> None:
    """Each token of the joined text is read once and learnt once, but for the very first."""
    task = make(max_length=length)
    blocks = list(task.adapt([TextExample(text) for text in texts], training=True))
    features = [feature for block in blocks for feature in task.encode(block, training=True)]
    joined = [token for text in texts for token in [*tokens(text), load().eos_token_id]]
    assert [token for feature in features for token in feature["input_ids"].tolist()] == joined[:-1]
    assert [token for feature in features for token in feature["labels"].tolist()] == joined[1:]
    assert all(len(feature["input_ids"]) == length for feature in features[:-1])


def test_blocks_know_where_they_are_from() -> None:
    examples = [TextExample("a b c d " * 20, source=Location("x", line)) for line in (1, 2, 3)]
    blocks = list(make(max_length=64).adapt(examples, training=True))
    lines = [block.source.line for block in blocks]
    assert lines == sorted(lines) and {1, 2, 3} == set(lines)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(16, 40), st.data())
def test_windows_score_each_token_once(count: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length))
    task = make(max_length=length, stride=stride, join_documents=True)
    text = " a" * count
    ids = tokens(text)
    features = task.encode(TextExample(text), training=False)
    scored = [label for feature in features for label in feature["labels"].tolist() if label != -100]
    assert scored == ids[1:]
    for number, feature in enumerate(features):
        assert 1 <= len(feature["input_ids"]) <= length or len(ids) == 1
        start = number * stride
        assert feature["input_ids"].tolist() == ids[start : start + len(feature["input_ids"])]
        if number:
            assert (feature["labels"][: length - stride] == -100).all()


def test_single_documents_are_ended() -> None:
    (feature,) = make().encode(TextExample("a b"), training=False)
    end = load().eos_token_id
    assert [*feature["input_ids"].tolist(), feature["labels"][-1]] == [end, *tokens("a b"), end]


def test_documents_of_a_file_are_joined() -> None:
    examples = [TextExample(text, source=Location(file, 1)) for text, file in (("a ", "x"), ("b", "x"), ("c", "y"))]
    assert [each.text for each in make(join_documents=True).adapt(examples, training=False)] == ["a b", "c"]
    assert [each.text for each in make().adapt(examples, training=False)] == ["a ", "b", "c"]


@pytest.mark.parametrize(("joined", "words"), [(True, 3), (False, 4)])
def test_perplexity_counts_tokens_and_words(joined: bool, words: int) -> None:
    """Words are those of the text as it was written, the first one of a joined text being given."""
    task = make(max_length=16, stride=8, join_documents=joined)
    example = TextExample("the lamps were unlit")
    features = task.encode(example, training=False)
    outputs = [{"label_losses": np.where(each["labels"] == -100, 0.0, 0.5).astype(np.float32)} for each in features]
    metrics = task.metrics()
    metrics.add(example, features, outputs)
    count = len(tokens(example.text)) + (-1 if joined else 1)
    scores = metrics.result()
    assert scores["perplexity"] == pytest.approx(math.exp(0.5))
    assert scores["word_perplexity"] == pytest.approx(math.exp(0.5 * count / words))
    metrics.add(example, features, [{"label_losses": np.full(1, 1e9, np.float32)}])
    assert metrics.result()["perplexity"] == math.inf


def test_cloze_asks_for_the_last_word() -> None:
    task = make(evaluation="cloze")
    text = "Ben had an old clock .\nNobody found the clock "
    (feature,) = task.encode(TextExample(text), training=False)
    word = tokens(" clock")
    labels = feature["labels"]
    assert labels[labels != -100].tolist() == word and (labels[-len(word) :] != -100).all()
    context = tokens("Ben had an old clock .\nNobody found the")
    assert feature["input_ids"].tolist() == [*context, *word][:-1]
    metrics = task.metrics()
    hits = np.zeros(len(labels), np.int64)
    metrics.add(TextExample(text), [feature], [{"label_hits": hits}])
    hits[-len(word) :] = 1
    metrics.add(TextExample(text), [feature], [{"label_hits": hits}])
    assert metrics.result() == {"accuracy": 0.5}
    (long,) = make(evaluation="cloze", max_length=16).encode(TextExample("a " * 50 + "clock"), training=False)
    assert len(long["input_ids"]) == 16 and long["labels"][-1] == word[-1]
    (alone,) = task.encode(TextExample("clock"), training=False)
    assert alone["input_ids"][0] == load().eos_token_id
    with pytest.raises(DataError, match="last word"):
        task.encode(TextExample(" "), training=False)


@pytest.mark.parametrize(
    ("tokenized", "plain"),
    [
        (' = = Early life = = \n \n He said : " yes " .', ' == Early life ==\n\nHe said: "yes" .'),
        ("the well @-@ known 25 @,@ 000 ( 3 @.@ 5 % ) maps", "the well-known 25,000 (3.5 %) maps"),
        ("it 's the players ' game , is n't it ?  Yes ; 3 ° C", "it's the players' game, is n't it?  Yes; 3°C"),
    ],
)
def test_wikitext_is_detokenized(tokenized: str, plain: str) -> None:
    assert detokenize(tokenized) == plain


def test_prompts_keep_their_end() -> None:
    task = make(max_length=16)
    prompt, truncated = task.prompt(task.request(" a" * 40))
    assert truncated and prompt["input_ids"].tolist() == tokens(" a" * 12)
    prompt, truncated = task.prompt(task.request(""))
    assert not truncated and prompt["input_ids"].tolist() == [load().eos_token_id]


def test_chinese_without_a_pad_token() -> None:
    task = make("gpt_cn")
    rows = [task.encode(TextExample(text), training=False)[0] for text in ("春风", "春风吹过青山外")]
    batch = task.stack(rows)
    assert (batch["labels"][0, len(rows[0]["labels"]) :] == -100).all()
    assert task.model_config() == {"bos_token_id": 8, "eos_token_id": 7, "ignore_index": -100}


def test_refusals() -> None:
    with pytest.raises(ValidationError, match="stride"):
        LanguageModelingOptions(max_length=128, stride=129)
    cases = Path(__file__).parents[2] / "golden" / "cases" / "tokenizers" / "vocabs" / "ernie"
    with pytest.raises(UsageError, match="GPT"):
        LanguageModelingTask(LanguageModelingOptions(), tokenizers.load(cases, class_name="ErnieTokenizer"), INPUTS)


def test_a_chinese_character_is_a_word() -> None:
    task = make()
    metrics = task.metrics()
    example = TextExample("春日 a 山边坐 b")
    metrics.add(example, [{"labels": np.zeros(1, np.int64)}], [{"label_losses": np.full(1, 7.0, np.float32)}])
    assert metrics.result()["word_perplexity"] == pytest.approx(math.e)
