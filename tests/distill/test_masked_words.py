"""Proposals of a masked language model, by a plain use of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from zoo_cli import models, registry, tokenizers
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.resources import locate
from zoo_cli.data.augment.words import is_chinese, is_replaceable, words_of
from zoo_cli.distill.masked_words import MaskedWords

TEXTS = ["a warm and funny film .", "dull", "save your money and skip this predictable sequel ."]
CHINESE = ["今天的会议没有什么新的内容。", "雨，船，书，灯，伞，饭"]


def make(folder: Path, architecture: str, **config: Any) -> Path:
    spec = registry.family_of(architecture)
    tokenizer = tokenizers.load(locate("sample:vocab/wordpiece"), class_name=spec.tokenizer)
    paddle.seed(1)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "initializer_range": 0.5}
    model = models.build(architecture, {**spec.tiny, **sizes, **config})
    folder.mkdir()
    models.save(model, folder)
    tokenizer.save(folder)
    return folder


def words(texts: list[str]) -> list[list[Any]]:
    return [[word for word in words_of(text) if is_replaceable(word.text)] for text in texts]


@pytest.mark.parametrize(("architecture", "texts"), [("BertForPretraining", TEXTS), ("ErnieForMaskedLM", CHINESE)])
def test_proposals_are_the_likeliest_words(architecture: str, texts: list[str], tmp_path: Path) -> None:
    folder = make(tmp_path / "m", architecture)
    own = words(texts)
    found = MaskedWords(folder)(texts, own, 5)
    family = registry.family_of(architecture).name
    model = models.load(folder, {"bert": "BertForMaskedLM", "ernie": "ErnieForMaskedLM"}[family])
    tokenizer = tokenizers.load(folder)
    asked = 0
    for text, of_text, proposals in zip(texts, own, found, strict=True):
        encoding = tokenizer.encode_batch([text], [text])[0]
        first = encoding.sequence_ids == 0
        for word, answer in zip(of_text, proposals, strict=True):
            covered = np.flatnonzero(
                first & (encoding.offsets[:, 0] >= word.start) & (encoding.offsets[:, 1] <= word.end)
            )
            if len(covered) != 1 or encoding.ids[covered[0]] == tokenizer.unk_token_id:
                assert answer is None
                continue
            ids = encoding.ids.copy()
            ids[covered[0]] = tokenizer.mask_token_id
            result = model(
                input_ids=paddle.to_tensor(ids[None]), token_type_ids=paddle.to_tensor(encoding.type_ids[None])
            )
            scores = result.logits.numpy()[0, covered[0]]
            ranked = [tokenizer.convert_ids_to_tokens([index])[0] for index in np.argsort(-scores)]
            hidden = tokenizer.convert_ids_to_tokens([int(encoding.ids[covered[0]])])[0]
            fitting = [each for each in ranked if is_replaceable(each) and each != hidden]
            assert answer == [each for each in fitting if is_chinese(each) == is_chinese(word.text)][:5]
            asked += 1
    assert asked >= 2


def test_other_texts_change_nothing(tmp_path: Path) -> None:
    proposer = MaskedWords(make(tmp_path / "m", "BertForMaskedLM"))
    together = proposer(TEXTS, words(TEXTS), 15)
    alone = [proposer([text], words([text]), 15)[0] for text in TEXTS]
    assert together == alone


def test_texts_longer_than_the_model_are_read_around_the_word(tmp_path: Path) -> None:
    proposer = MaskedWords(make(tmp_path / "m", "BertForMaskedLM", max_position_embeddings=16))
    text = " ".join(["film"] * 40)
    (found,) = proposer([text], words([text]), 3)
    assert len(found) == 40 and all(answer is not None and len(answer) == 3 for answer in found)


def test_weights_without_the_head_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        MaskedWords(make(tmp_path / "m", "BertForSequenceClassification"))
    assert caught.value.code == "no-masked-lm-head"


def test_families_without_such_a_head_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        MaskedWords(make(tmp_path / "m", "TinyBertForSequenceClassification"))
    assert caught.value.code == "no-masked-lm"
