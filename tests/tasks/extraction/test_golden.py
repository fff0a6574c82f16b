"""The recorded runs of PaddleNLP's pipeline: equal in the upstream mode, mended in the default mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.extraction import compare, load_case, make_task, replay_extraction, run_options
from zoo_cli.base.files import read_json
from zoo_cli.tasks.base import answer_all
from zoo_cli.tasks.extraction.schema import class_options, normalize

FOLDER = Path(__file__).parents[2] / "golden" / "cases" / "uie_taskflow"
pytest.importorskip("paddle")


@pytest.fixture(scope="module")
def case() -> Any:
    return load_case(FOLDER)


def test_upstream_mode_repeats_every_run() -> None:
    results = replay_extraction(FOLDER)
    assert len(results) == 15
    assert [(name, text) for name, agrees, text in results if not agrees] == []


def mended(result: dict[str, Any]) -> dict[str, Any]:
    """A recorded result without its faults: empty spans, spans as classes, classes as spans."""
    kept = {}
    for name, entries in result.items():
        is_class = bool(class_options(normalize(name)))
        good = []
        for entry in entries:
            if is_class == ("start" in entry) or ("start" in entry and entry["start"] >= entry["end"]):
                continue
            relations = mended(entry.get("relations", {}))
            rest = {key: value for key, value in entry.items() if key != "relations"}
            good.append(rest | {"relations": relations} if relations else rest)
        if good:
            kept[name] = max([[entry] for entry in good], key=lambda one: one[0]["probability"]) if is_class else good
    return kept


def test_default_mode_differs_only_where_upstream_errs(case: Any) -> None:
    tokenizer, run_model = case
    cases = read_json(FOLDER / "cases.json")
    differing = set()
    for index, run in enumerate(cases["runs"]):
        task = make_task(tokenizer, False, schema=run["schema"], **run_options(run))
        requests = [task.steps(task.request(text)) for text in cases["texts"]]
        for number, answer in enumerate(answer_all(requests, run_model)):
            if compare(mended(run["results"][number]), answer)[1] is not None:
                differing.add((index, number))
    # Runs 2, 5, 8 and 11 have windows of at most 48 tokens, into which only text 4 does not fit. In run 10 PaddleNLP
    # takes 观点词 for a classification because one of its answers lies in the prompt, and keeps one of its spans.
    assert differing == {(2, 4), (5, 4), (8, 4), (11, 4), (10, 2), (10, 4), (10, 5)}
    assert len(cases["texts"][4]) > 48 > max(len(text) for text in cases["texts"] if text != cases["texts"][4])


def test_a_replay_can_fail(case: Any) -> None:
    gold = {"a": [{"text": "x", "start": 0, "end": 1, "probability": 0.5}]}
    assert compare(gold, gold) == (0.0, None)
    for change in ({"probability": 0.501}, {"end": 2}, {"relations": {"b": gold["a"]}}):
        assert compare(gold, {"a": [gold["a"][0] | change]})[1]
    assert compare(gold, {})[1]
