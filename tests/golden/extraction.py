"""Replays of PaddleNLP's extraction pipeline: the same weights, texts and schemas must give the same results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.files import read_json
from zoo_cli.data.batching import pad, unpad
from zoo_cli.tasks.base import Feature, Outputs, answer_all
from zoo_cli.tasks.extraction.postprocess import Answer
from zoo_cli.tasks.extraction.reading import Question, UpstreamReader
from zoo_cli.tasks.extraction.spec import ExtractionOptions
from zoo_cli.tasks.extraction.task import ExtractionTask

INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask")
TOLERANCE = 1e-5
CASES = Path(__file__).parent / "cases"

Runner = Callable[[list[Feature]], list[Outputs]]


def load_case(folder: Path, vocabs: Path | None = None) -> tuple[Any, Runner]:
    """Tokenizer and model of a case.

    Args:
        folder: holds `config.json` and `weights.safetensors`.
        vocabs: folder of vocabularies, in which ERNIE's is; by default the one beside the case, or the bundled one.
    """
    import paddle
    from safetensors.numpy import load_file

    from zoo_cli import tokenizers
    from zoo_cli.models.loading import build, load_weights

    model = build("UIE", read_json(folder / "config.json"))
    load_weights(model, load_file(folder / "weights.safetensors"))
    model.eval()

    def run(features: list[Feature]) -> list[Outputs]:
        batch = pad(features, {})
        with paddle.no_grad():
            output = model(**{name: paddle.to_tensor(values) for name, values in batch.items()})
        probabilities = {name: getattr(output, name).numpy() for name in ExtractionTask.output_names}
        return unpad(probabilities, [len(feature["input_ids"]) for feature in features], set(probabilities))

    candidates = [vocabs or folder.parent / "tokenizers" / "vocabs", CASES / "tokenizers" / "vocabs"]
    vocabulary = next(place / "ernie" for place in candidates if (place / "ernie").is_dir())
    return tokenizers.load(vocabulary, class_name="ErnieTokenizer"), run


def make_task(tokenizer: Any, upstream: bool, **options: Any) -> ExtractionTask:
    """The task with PaddleNLP's inputs."""
    return ExtractionTask(ExtractionOptions(upstream_windows=upstream, **options), tokenizer, INPUTS)


class _InGoldOrder(UpstreamReader):
    """Entries in the order in which the recorded run had them.

    PaddleNLP collects the spans of a piece in a set, whose order hangs on the last bits of their probabilities, and
    takes the first of them where it decides on classes. That order cannot be reproduced, so it is given.
    """

    def __init__(self, *arguments: Any, gold: list[dict[str, Any]]) -> None:
        super().__init__(*arguments)
        self.gold: dict[Any, list[Answer]] = {}
        for index, result in enumerate(gold):
            self._note(index, None, result)

    def _note(self, index: int, parent: Any, result: dict[str, Any]) -> None:
        for name, entries in result.items():
            self.gold[index, name, parent] = entries
            for entry in entries:
                self._note(index, _identity(entry), entry.get("relations", {}))

    def arrange(self, question: Question, entries: list[Answer]) -> list[Answer]:
        parent = _identity(question.parent) if question.parent else None
        gold = self.gold.get((question.text, question.node.name, parent), [])

        def place(entry: Answer) -> int:
            # A class bears no offsets even if it was found in the text, so text and probability must do.
            same = (
                index
                for index, other in enumerate(gold)
                if entry["text"] == other["text"] and abs(entry["probability"] - other["probability"]) < TOLERANCE
            )
            return next(same, len(gold))

        return sorted(entries, key=place)


def run_options(run: dict[str, Any]) -> dict[str, Any]:
    """Our names of the options of a run."""
    names = {"position_prob": "position_threshold", "max_seq_len": "max_length", "schema_lang": "schema_lang"}
    return {names[name]: value for name, value in run["options"].items() if name in names}


def replay_extraction(folder: Path, vocabs: Path | None = None) -> list[tuple[str, bool, str]]:
    """Run every case of a folder in the upstream mode.

    Args:
        folder: holds `cases.json` (texts; schemas, options and results of runs), `config.json`, `weights.safetensors`.
        vocabs: folder of vocabularies.

    Returns:
        For each run its name, whether it agrees, and the largest difference or the first disagreement.
    """
    tokenizer, run_model = load_case(folder, vocabs)
    cases = read_json(folder / "cases.json")
    results = []
    for index, run in enumerate(cases["runs"]):
        task = make_task(tokenizer, True, schema=run["schema"], **run_options(run))
        request = task.request({"text": cases["texts"]})
        reader = _InGoldOrder(task.encoder, INPUTS, request, gold=run["results"])
        (answers,) = answer_all([task.answer(request, reader)], run_model)
        found = [compare(gold, answer) for gold, answer in zip(run["results"], answers, strict=True)]
        problem = next((f"text {number}: {text}" for number, (_, text) in enumerate(found) if text), None)
        largest = max((difference for difference, _ in found), default=0.0)
        results.append((f"{folder.name}[{index}]", problem is None, problem or f"{largest:.1e}"))
    return results


def compare(gold: dict[str, Any], answer: dict[str, Any], path: str = "") -> tuple[float, str | None]:
    """Largest difference of probabilities of two results, and what else differs, the order of entries aside."""
    if gold.keys() != answer.keys():
        return 0.0, f"{path or 'result'}: names {sorted(gold)} but {sorted(answer)}"
    largest = 0.0
    for name in gold:
        place = f"{path}/{name}"
        expected, actual = sorted(gold[name], key=_identity), sorted(answer[name], key=_identity)
        if list(map(_identity, expected)) != list(map(_identity, actual)):
            return largest, f"{place}: {list(map(_identity, expected))} but {list(map(_identity, actual))}"
        for one, other in zip(expected, actual, strict=True):
            difference = abs(one["probability"] - other["probability"])
            largest = max(largest, difference)
            if not np.isfinite(difference) or difference > TOLERANCE:
                return largest, f"{place}: {one['text']!r} differs by {difference:.1e}"
            inner, problem = compare(one.get("relations", {}), other.get("relations", {}), place)
            largest = max(largest, inner)
            if problem:
                return largest, problem
    return largest, None


def _identity(entry: Answer) -> tuple[int, int, str]:
    return entry.get("start", -1), entry.get("end", -1), entry["text"]
