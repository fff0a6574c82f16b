"""Documents in segments: reordering, masks, and the order in which slots read them."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.corpus.corpora import random_corpus, tokenizer
from zoo_cli.base.errors import UsageError
from zoo_cli.data.corpus.blend import Blend
from zoo_cli.data.corpus.documents import DocumentInputs, DocumentSamples, order_classes
from zoo_cli.data.corpus.draws import key
from zoo_cli.engine.distributed import World
from zoo_cli.engine.segment_batches import SegmentBatches
from zoo_cli.recipe.schema import PretrainSection, TrainSection

LENS = [[5, 7, 4, 9], [3], [20, 2], [6, 6, 6], [1], [40, 30, 25]]
LENGTH = 16
ROOM = LENGTH - 2


def section(**values: Any) -> PretrainSection:
    masking = {"masked_lm_prob": 0.0, **values.pop("masking", {})}
    return PretrainSection.model_validate(
        {"objective": "recurrent", "corpora": ["x"], "max_length": LENGTH, "masking": masking, **values}
    )


def inputs_of(folder: Path, **values: Any) -> DocumentInputs:
    corpus = random_corpus(folder / "corpus", LENS, below=2000)
    return DocumentInputs([DocumentSamples(corpus)], tokenizer(), section(**values))


def read(inputs: DocumentInputs, document: int, seed: int = 0) -> tuple[list[int], int]:
    """The tokens of all segments of a document, and the class at its end."""
    count = int(inputs.segments(np.zeros(1, int), np.array([document]))[0])
    numbers, zeros = np.arange(count), np.zeros(count, np.int64)
    keys = np.repeat(np.array([key(seed, document)], np.uint64), count)
    batch = inputs.load(zeros, zeros + document, keys, numbers)
    assert (batch["orders"][:-1] == -100).all()
    assert (batch["input_ids"][:, -1] == tokenizer().cls_token_id).all()
    tokens: list[int] = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        size = int(mask.sum()) - 2
        assert ids[size] == tokenizer().sep_token_id and mask[-1] == 1
        assert (ids[size + 1 : -1] == tokenizer().pad_token_id).all() and not mask[size + 1 : -1].any()
        tokens += ids[:size].tolist()
    return tokens, int(batch["orders"][-1])


def original(inputs: DocumentInputs, document: int) -> list[int]:
    part = inputs.parts[0]
    return inputs._forms.plain[part.corpus.ids[part.tokens[document] : part.tokens[document + 1]]].tolist()


def test_one_part_stays_as_it_is(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, reorder_parts=1)
    for document in range(len(LENS)):
        assert read(inputs, document) == (original(inputs, document), 0)


def test_the_class_tells_the_order(tmp_path: Path) -> None:
    """Putting the parts back where the class says gives the document, and cuts are ends of sentences."""
    inputs = inputs_of(tmp_path)
    seen = set()
    for document, lens in enumerate(LENS):
        whole, borders = original(inputs, document), np.cumsum(lens)[:-1].tolist()
        for seed in range(12):
            tokens, label = read(inputs, document, seed)
            seen.add(label)
            count = max(n for n in (1, 2, 3) if order_classes(n - 1) <= label)
            order = list(permutations(range(count)))[label - order_classes(count - 1)]
            possible = [
                [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
                for cuts in ([], *[[c] for c in borders], *[[a, b] for a in borders for b in borders if a < b])
                if len(cuts) == count - 1
            ]
            assert any([token for part in order for token in parts[part]] == tokens for parts in possible)
    assert seen == set(range(order_classes(3)))


def test_number_of_classes() -> None:
    assert [order_classes(parts) for parts in range(5)] == [0, 1, 3, 9, 33]


def test_masks_are_those_of_the_segment_whatever_is_beside_it(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path, masking={"masked_lm_prob": 0.3})
    keys = np.array([key(0, 5), key(0, 0)], np.uint64)
    both = inputs.load(np.zeros(2, int), np.array([5, 0]), keys, np.array([3, 1]))
    for row in range(2):
        alone = inputs.load(np.zeros(1, int), np.array([[5, 0][row]]), keys[[row]], np.array([[3, 1][row]]))
        assert {name: array[0].tolist() for name, array in alone.items()} == {
            name: array[row].tolist() for name, array in both.items()
        }
    chosen = both["labels"] != -100
    assert chosen.any(axis=1).all()
    assert not chosen[:, -1].any() and not (chosen & (both["attention_mask"] == 0)).any()


@pytest.mark.parametrize("readings", [1, 2])
@pytest.mark.parametrize("slots", [1, 3, 8])
def test_slots_read_every_segment_in_order(tmp_path: Path, readings: int, slots: int) -> None:
    inputs = inputs_of(tmp_path, reorder_parts=1)
    blend = Blend(inputs.parts, seed=3)
    options = TrainSection(batch_size=slots)
    batches = SegmentBatches(blend, inputs, options, LENGTH, readings, "x", World())
    plan = batches.plan(0)
    read_by: dict[int, list[list[int]]] = {slot: [] for slot in range(slots)}
    learnt = 0
    for indices in plan:
        batch = batches.load(0, indices).arrays
        for row, slot in enumerate(batch["slots"].tolist()):
            size = int(batch["attention_mask"][row].sum()) - 2
            if batch["starts"][row]:
                read_by[slot].append([])
            read_by[slot][-1] += batch["input_ids"][row, :size].tolist()
            learnt += size * int(batch["counts"][row])
    documents = [original(inputs, document) for document in range(len(LENS))]
    found = [tokens for slot in read_by.values() for tokens in slot]
    assert sorted(found) == sorted(document * readings for document in documents)
    assert learnt == sum(map(sum, LENS))
    lengths = [sum(map(len, slot)) for slot in read_by.values()]
    assert max(lengths) <= readings * (sum(map(sum, LENS)) // slots + max(map(sum, LENS)) + ROOM)
    assert len(batches.describe(plan[0])) == int((plan[0] >= 0).sum())
    assert plan[-1].tolist() == plan[len(plan) - 1].tolist()
    assert batches.plan(1)[0].shape == (slots,)


def test_documents_stay_in_one_process(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path)
    with pytest.raises(UsageError) as caught:
        SegmentBatches(Blend(inputs.parts), inputs, TrainSection(), LENGTH, 1, "x", World(0, 2))
    assert caught.value.code == "one-process"
