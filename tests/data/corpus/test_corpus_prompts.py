"""Prompt corpora: what becomes of the lines, and batches of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.corpus.corpora import tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.corpus.blend import Blend
from zoo_cli.data.corpus.draws import key
from zoo_cli.data.corpus.format import open_corpus
from zoo_cli.data.corpus.inputs import Arrays, Located
from zoo_cli.data.corpus.prompts import PromptInputs, PromptSamples
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tasks.extraction.prompt_corpus import RawPrompts
from zoo_cli.tasks.extraction.spec import ExtractionOptions
from zoo_cli.tasks.extraction.task import ExtractionTask

INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def line(content: str, prompt: str, *answers: str, inside: str | None = None) -> str:
    spans = [{"text": text, "start": (at := content.index(text)), "end": at + len(text)} for text in answers]
    if inside is not None:
        start = prompt.rindex(inside) - len(prompt) - 1
        spans.append({"text": inside, "start": start, "end": start + len(inside)})
    return json.dumps({"content": content, "prompt": prompt, "result_list": spans}, ensure_ascii=False)


TEXTS = ("周丽娜在上海工作。", "黄秀英昨天来到北京的公司。", "李明说今天的电影很好看。")
LINES = [
    line(TEXTS[0], "人物", "周丽娜"),
    line(TEXTS[0], "地点", "上海"),
    line(TEXTS[1], "人物", "黄秀英"),
    line(TEXTS[1], "组织机构", "公司"),
    line(TEXTS[1], "时间"),
    line(TEXTS[2], "情感倾向[正向,负向]", inside="正向"),
]


def section(**values: Any) -> PretrainSection:
    return PretrainSection(objective="spans", corpora=["x"], **{"max_length": 32, **values})


def samples(folder: Path, lines: list[str], options: PretrainSection | None = None) -> PromptSamples:
    path = folder / "lines.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    raw = RawPrompts(str(path), folder, tokenizer(), options or section())
    raw.build()
    return PromptSamples(open_corpus(raw.prefix))


def load(inputs: PromptInputs, rows: list[int], seed: int = 0) -> Arrays:
    chosen = np.array(rows)
    keys = np.array([key(seed, row) for row in rows], np.uint64)
    return inputs.load(Located(np.zeros_like(chosen), chosen, keys))


def test_a_row_is_what_fine_tuning_makes_of_the_line(tmp_path: Path) -> None:
    inputs = PromptInputs([samples(tmp_path, LINES)], tokenizer(), section())
    task = ExtractionTask(ExtractionOptions(max_length=32), tokenizer(), INPUTS)
    from zoo_cli.data.readers import read

    for row, example in enumerate(read(tmp_path / "lines.jsonl", "prompt")):
        (wanted,) = task.encode(example, training=True)  # type: ignore[arg-type]
        found = load(inputs, [row])
        assert {name: array[0].tolist() for name, array in found.items()} == {
            name: array.tolist() for name, array in wanted.items()
        }


def test_long_texts_become_windows_that_cut_no_answer(tmp_path: Path) -> None:
    content = "".join(TEXTS) * 4
    at = content.rindex("北京")
    row = {"content": content, "prompt": "地点", "result_list": [{"text": "北京", "start": at, "end": at + 2}]}
    part = samples(tmp_path, [json.dumps(row, ensure_ascii=False)])
    assert len(part) > 2
    batch = load(PromptInputs([part], tokenizer(), section()), list(range(len(part))))
    assert batch["input_ids"].shape[1] <= 32
    (rows, starts), (_, ends) = np.nonzero(batch["start_positions"]), np.nonzero(batch["end_positions"])
    assert tokenizer().decode(batch["input_ids"][rows[0], starts[0] : ends[0] + 1].tolist()).replace(" ", "") == "北京"
    assert len(rows) == 1


def test_lines_that_are_no_pair_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = ["not json", '{"content": "a"}', '"\\ud800"', line(TEXTS[0], "人" * 40), ""]
    wrong = json.dumps({"content": "甲乙", "prompt": "人物", "result_list": [{"text": "丙", "start": 0, "end": 1}]})
    part = samples(tmp_path, [*LINES, *broken, wrong])
    assert len(part) == len(LINES)
    report = json.loads(Path(part.corpus.prefix + "_corpus.json").read_text())
    assert {kind: fault["count"] for kind, fault in report["faults"].items()} == {
        "broken-json": 1,
        "missing-field": 1,
        "wrong-type": 1,
        "prompt-too-long": 1,
        "bad-offset": 1,
    }
    assert report["faults"]["broken-json"]["at"] == [f"{tmp_path / 'lines.jsonl'}:7"]
    assert "left out" in caplog.text


def test_without_any_pair_there_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        samples(tmp_path, ["nothing"])
    assert caught.value.code == "empty-corpus"


def test_a_corpus_of_plain_text_has_no_prompts(tmp_path: Path) -> None:
    from tests.data.corpus.corpora import random_corpus

    with pytest.raises(DataError) as caught:
        PromptSamples(random_corpus(tmp_path / "plain", [[3, 4]]))
    assert caught.value.code == "no-prompts"


def test_foreign_prompts_are_ones_that_the_text_does_not_have(tmp_path: Path) -> None:
    options = section(negative_share=1.0)
    part = samples(tmp_path, LINES, options)
    inputs = PromptInputs([part], tokenizer(), options)
    own = {TEXTS[0]: {"人物", "地点"}, TEXTS[1]: {"人物", "组织机构", "时间"}, TEXTS[2]: {"情感倾向[正向,负向]"}}
    contents = [json.loads(each)["content"] for each in LINES]
    foreign = set()
    for seed in range(30):
        batch = load(inputs, list(range(len(LINES))), seed)
        for row, ids in enumerate(batch["input_ids"]):
            separators = np.flatnonzero(ids == tokenizer().sep_token_id)
            prompt = tokenizer().decode(ids[1 : separators[0]].tolist()).replace(" ", "")
            if prompt not in own[contents[row]]:
                foreign.add(prompt)
                assert not batch["start_positions"][row].any() and not batch["end_positions"][row].any()
            else:  # the text has it, so it is the line's own, with its answers
                expected = bool(json.loads(LINES[row])["result_list"])
                assert bool(batch["start_positions"][row].any()) == expected
    assert foreign == {"人物", "地点", "组织机构", "时间"}  # no classification, which every text has an answer to


def test_rows_do_not_depend_on_their_company(tmp_path: Path) -> None:
    options = section(negative_share=0.5)
    inputs = PromptInputs([samples(tmp_path, LINES, options)], tokenizer(), options)
    together = load(inputs, [0, 1, 2, 3, 4, 5])
    for row in range(6):
        alone = load(inputs, [row])
        size = alone["input_ids"].shape[1]
        for name, array in alone.items():
            assert together[name][row, :size].tolist() == array[0].tolist()
            assert name == "input_ids" or not together[name][row, size:].any()


def test_pairs_of_several_corpora_go_together(tmp_path: Path) -> None:
    parts = []
    for name, lines in (("a", LINES[:3]), ("b", LINES[3:])):
        (tmp_path / name).mkdir()
        parts.append(samples(tmp_path / name, lines))
    inputs = PromptInputs(parts, tokenizer(), section())
    corpora, rows, keys = Blend(parts, seed=1).locate(0, np.arange(6))
    batch = inputs.load(Located(corpora, rows, keys))
    assert sorted(batch["start_positions"].sum(axis=1).tolist()) == [0, 1, 1, 1, 1, 1]
    assert batch["attention_mask"].sum() == inputs.tokens(batch)


def test_uie_m_has_two_separators_and_no_types(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(LINES), encoding="utf-8")
    raw = RawPrompts(str(path), tmp_path, tokenizer("ernie_m"), section())
    raw.build()
    inputs = PromptInputs([PromptSamples(open_corpus(raw.prefix))], tokenizer("ernie_m"), section())
    task = ExtractionTask(ExtractionOptions(max_length=32), tokenizer("ernie_m"), ("input_ids", "attention_mask"))
    from zoo_cli.data.readers import read

    example = next(read(path, "prompt"))
    (wanted,) = task.encode(example, training=True)  # type: ignore[arg-type]
    assert {name: array[0].tolist() for name, array in load(inputs, [0]).items()} == {
        name: array.tolist() for name, array in wanted.items()
    }
