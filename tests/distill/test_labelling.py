"""Which texts a teacher labels, what is kept of a killed run, and what the student gets to see."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.toy import INPUTS, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import AnnotatedText
from zoo_cli.distill import labelling
from zoo_cli.distill.labelling import label, labelled_examples, texts_to_label
from zoo_cli.recipe.schema import DataSection, LabellingSection
from zoo_cli.tasks.closed_extraction.spec import ClosedExtractionOptions
from zoo_cli.tasks.closed_extraction.task import ClosedExtractionTask

GOLD = [AnnotatedText("一二三"), AnnotatedText("四五六")]
TEXTS = [f"{number}号" for number in range(40)]


class Stop(Exception):
    pass


class Teacher:
    """Finds the sign in every third text, and gives up when it is told to."""

    def __init__(self, stop: int = 1000) -> None:
        self.asked: list[str] = []
        self._stop = stop

    def stream(self, requests: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for request in requests:
            if len(self.asked) == self._stop:
                raise Stop
            text = request["text"]
            self.asked.append(text)
            assert request["schema"] == ["号"]
            end, sure = len(text), int(text[:-1]) / 40
            found = {"text": text[-1], "start": end - 1, "end": end, "probability": sure}
            yield {} if int(text[:-1]) % 3 else {"号": [found]}


@pytest.fixture
def task() -> ClosedExtractionTask:
    return ClosedExtractionTask(ClosedExtractionOptions(schema=["号"]), tokenizer(), INPUTS)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def chosen(seed: int = 1, data: DataSection | None = None, **values: Any) -> list[str]:
    return texts_to_label(LabellingSection(**values), data or DataSection(), GOLD, seed)


def test_texts_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("甲\n\n  乙 \r\n", encoding="utf-8")
    (tmp_path / "b.json").write_text('{"text": "丙丁", "label": {"x": {"丙": [[0, 0]]}}}\n', encoding="utf-8")
    assert chosen(texts=[str(tmp_path / "a.txt")]) == ["甲", "乙"]
    assert chosen(texts=[str(tmp_path / "b.json")], format="cluener") == ["丙丁"]
    assert chosen() == ["一二三", "四五六"]
    (tmp_path / "c.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        chosen(texts=[str(tmp_path / "c.txt")])
    assert caught.value.code == "no-texts"


def test_no_more_texts_than_the_ratio_allows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    few = chosen(texts=[str(path)], ratio=3)
    assert len(few) == 6 and few == sorted(few, key=TEXTS.index) and set(few) <= set(TEXTS)
    assert few == chosen(texts=[str(path)], ratio=3) != chosen(seed=2, texts=[str(path)], ratio=3)
    assert chosen(texts=[str(path)], ratio=100) == chosen(texts=[str(path)], ratio=-1) == TEXTS


def test_options_of_the_format_are_those_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sentence,label\n甲乙,x\n", encoding="utf-8")
    data = DataSection(format="csv", options={"columns": {"text": "sentence", "label": "label"}})
    assert chosen(data=data, texts=[str(path)], format="csv") == ["甲乙"]


@pytest.mark.parametrize("stop", [0, 1, 8, 17, 39])
def test_a_killed_run_goes_on_with_the_group_where_it_was(
    stop: int, task: ClosedExtractionTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelling, "GROUP", 8)
    whole, place = tmp_path / "whole.jsonl", tmp_path / "labelled.jsonl"
    label(TEXTS, Teacher(), task, whole)  # type: ignore[arg-type]
    first, second = Teacher(stop), Teacher()
    with pytest.raises(Stop):
        label(TEXTS, first, task, place)  # type: ignore[arg-type]
    assert not place.exists()
    partial = place.with_name("labelled.jsonl.partial")
    with partial.open("ab") as file:
        file.write('{"text": "半'.encode())  # a kill in the middle of a line
    label(TEXTS, second, task, place)  # type: ignore[arg-type]
    assert first.asked == TEXTS[:stop] and second.asked == TEXTS[stop // 8 * 8 :]
    assert place.read_bytes() == whole.read_bytes() and not partial.exists()
    third = Teacher()
    label(TEXTS, third, task, place)  # type: ignore[arg-type]
    assert third.asked == []


def test_other_texts_are_labelled_anew(task: ClosedExtractionTask, tmp_path: Path) -> None:
    place, teacher = tmp_path / "labelled.jsonl", Teacher()
    with pytest.raises(Stop):
        label(TEXTS, Teacher(9), task, place)  # type: ignore[arg-type]
    label(TEXTS[5:], teacher, task, place)  # type: ignore[arg-type]
    assert teacher.asked == TEXTS[5:] == [row["text"] for row in lines(place)]
    shorter = Teacher()
    label(TEXTS[5:20], shorter, task, place)  # type: ignore[arg-type]
    assert shorter.asked == TEXTS[5:20] == [row["text"] for row in lines(place)]


def test_what_the_student_sees(task: ClosedExtractionTask, tmp_path: Path) -> None:
    place = tmp_path / "labelled.jsonl"
    label(TEXTS, Teacher(), task, place)  # type: ignore[arg-type]
    assert lines(place)[3]["entities"] == [
        {"id": 0, "start_offset": 1, "end_offset": 2, "label": "号", "probability": 0.075}
    ]

    def counts(**values: Any) -> tuple[int, int]:
        examples = labelled_examples(place, LabellingSection(**values), "##", 1)
        assert [TEXTS.index(each.text) for each in examples] == sorted(TEXTS.index(each.text) for each in examples)
        return sum(bool(each.entities) for each in examples), sum(not each.entities for each in examples)

    assert counts(negative_ratio=-1) == (14, 26)
    assert counts() == (14, 14)
    assert counts(negative_ratio=0) == (14, 0)
    assert counts(threshold=0.5) == (7, 7)  # 21, 24, ... 39
    assert counts(threshold=0.5, negative_ratio=9) == (7, 33)
    example = labelled_examples(place, LabellingSection(), "##", 1)[0]
    assert str(example.source) == f"{place}:1"
