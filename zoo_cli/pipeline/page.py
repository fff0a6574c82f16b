"""The report of a whole run: all that is known of it on one page."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import read_json, write_text
from zoo_cli.base.html import (
    Span,
    bars,
    escape,
    line_chart,
    marked_text,
    matrix,
    number,
    page,
    paragraph,
    scatter,
    section,
    table,
)
from zoo_cli.base.messages import translate
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.folders import BEST, BUNDLE, RECIPE, REPORT, RESULT, read_rows
from zoo_cli.engine.report import curves, evaluations
from zoo_cli.pipeline import analysis
from zoo_cli.pipeline.analysis import Case
from zoo_cli.pipeline.state import STATE, State
from zoo_cli.pipeline.steps import BENCH, CHECK, DISTILL, EXPORT, FINETUNE, PRETRAIN, PRUNE, QUANTIZE, answer_file
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.runtime.golden import RECEIPT
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.generative import GenerativeTask

MOST_EXAMPLES, MOST_WRITTEN, MOST_MISTAKES = 500, 16, 20
_LOW_THRESHOLD = 0.05
"""Extraction is asked with this threshold, too, so that the curve shows what a lower one would find."""
_LONGEST_TEXT = 1200
_TRAININGS = (PRETRAIN, FINETUNE, DISTILL, PRUNE)


def write_page(root: Path) -> Path:
    """Draw the report of a run.

    Args:
        root: folder of the run, with a folder for each step.

    Returns:
        The page.

    Raises:
        ArtifactError: there is no run (`no-run`), or it cannot be read.
        DataError: its development data cannot be read.
    """
    trainings = {name: root / name for name in _TRAININGS if (root / name / RECIPE).is_file()}
    if not trainings and not (root / EXPORT).is_dir():
        raise ArtifactError("no-run", "there is no run here", at=Location.of(root), fix="name the folder of all steps")
    body = [*_answers(root), _compression(root), _speed(root)]
    for name, folder in trainings.items():
        rows = read_rows(folder)
        body.append(section(f"{translate('Training')}: {name}", curves({"": rows})) + evaluations(rows))
    body += [_data(root), _receipt(root)]
    write_text(root / REPORT, page(str(root), "".join(body)))
    return root / REPORT


# -- what the model says of the development set ------------------------------------------------------------------------


def _answers(root: Path) -> list[str]:
    """Sections about the answers on the development set."""
    opened = _open(root)
    if opened is None:
        return []
    pipeline, loaded, place = opened
    cases, low = _cases(pipeline, loaded)
    if not cases:
        return []
    texts = analysis.joined(cases)
    wrong = sorted((case for case in texts if case.badness > 0), key=lambda case: -case.badness)
    about = translate("{count} examples of the development set, answered by {place}; {wrong} texts are not all right")
    head = paragraph(about.format(count=len(cases), place=place, wrong=len(wrong)))
    return [
        section(translate("Answers"), head, *_figures(cases, low)),
        section(translate("Worst mistakes"), _legend(wrong), *(_mistake(case) for case in wrong[:MOST_MISTAKES])),
        section(translate("Lengths"), bars(translate("Characters of a text"), analysis.lengths(texts))),
    ]


def _open(root: Path) -> tuple[Pipeline, LoadedRecipe, str] | None:
    """What answers at the end of the run's road, with the recipe that it was made by."""
    for name in (QUANTIZE, EXPORT):
        bundle = root / name / BUNDLE
        if (bundle / RECEIPT).is_file():
            from zoo_cli import runtime

            return runtime.load(bundle), load_recipe(str(bundle / RECIPE)), str(bundle)
    for name in (PRUNE, DISTILL, FINETUNE):
        model = root / name / BEST
        if (model / "task.json").is_file():
            from zoo_cli.base.environment import prepare_paddle

            prepare_paddle("cpu")
            from zoo_cli.engine.answering import load_pipeline

            return load_pipeline(model), load_recipe(str(model / RECIPE)), str(model)
    return None


def _cases(pipeline: Pipeline, loaded: LoadedRecipe) -> tuple[list[Case], list[Case]]:
    """Development examples with their answers, and for extraction those with a low threshold."""
    task = pipeline.task
    if task.name == "language_modeling":  # its texts state nothing that an answer could have or lack
        return [], []
    rows = read_parts(loaded.recipe.data, loaded.recipe.train.seed, ("dev",)).get("dev", [])
    written = isinstance(task, GenerativeTask)
    most = MOST_WRITTEN if written else MOST_EXAMPLES
    if len(rows) > most:
        rows = random.Random(0).sample(rows, most)
    examples = list(islice(task.adapt(rows, training=False), most))
    requests = [task.request_of(example) for example in examples]
    answers = pipeline.stream(requests)
    cases = _pairs(examples, answers)
    if task.name != "extraction":
        return cases, cases
    asked = [{**request, "position_threshold": _LOW_THRESHOLD} for request in requests]
    return cases, _pairs(examples, pipeline.stream(asked))


def _pairs(examples: Sequence[Any], answers: Any) -> list[Case]:
    found = (analysis.case_of(example, answer) for example, answer in zip(examples, answers, strict=True))
    return [case for case in found if case is not None]


def _figures(cases: Sequence[Case], low: Sequence[Case]) -> list[str]:
    """Curve by threshold, confusion matrix and table of labels, as far as they make sense for a task."""
    if cases[0].number is not None:
        points = [case.number for case in cases if case.number is not None]
        return [scatter(translate("Told numbers"), {"": [("", *point) for point in points]}, translate("gold number"))]
    if cases[0].written:
        return []
    found = [_threshold_chart(low)]
    labels, counts = analysis.confusion(cases)
    if len(labels) > 1:
        columns = [f"→ {label}" for label in labels]
        found.append(matrix(translate("Confusion: gold in rows, answers in columns"), labels, columns, counts))
        scores = [list(row) for row in analysis.label_scores(cases)]
        found.append(table(["label", "precision", "recall", "F1", "gold"], scores, translate("By label")))
    return found


def _threshold_chart(cases: Sequence[Case]) -> str:
    steps = analysis.thresholds(cases)
    if len(steps) < 2:
        return ""
    best = max(steps, key=lambda step: step.f1)
    lines = {
        "precision": [(step.value, step.precision) for step in steps],
        "recall": [(step.value, step.recall) for step in steps],
        "F1": [(step.value, step.f1) for step in steps],
    }
    title = translate("Precision and recall by least score")
    text = translate("best F1 {f1} at a score of {value}: precision {precision}, recall {recall}")
    values = {"f1": best.f1, "value": best.value, "precision": best.precision, "recall": best.recall}
    shown = {name: number(round(value, 4)) for name, value in values.items()}
    marked = {translate("best"): best.value}
    return line_chart(title, lines, translate("least score"), marked, last=False) + paragraph(text.format(**shown))


def _legend(cases: Sequence[Case]) -> str:
    """What the lines below words mean, where words have places."""
    if not any(unit.start is not None for case in cases for unit in (*case.gold, *case.found)):
        return ""
    kinds = "".join(f'<mark class="{kind}">{escape(translate(kind))}</mark> ' for kind in ("right", "missed", "wrong"))
    return f'<p class="soft">{kinds}</p>\n'


def _mistake(case: Case) -> str:
    """One text with its mistakes."""
    text = case.text[:_LONGEST_TEXT]
    keys = {unit.key for unit in case.found}
    spans = [
        Span(unit.start, unit.end, "right" if unit.key in keys else "missed", unit.label)
        for unit in case.gold
        if unit.start is not None and unit.end is not None
    ]
    spans += [
        Span(unit.start, unit.end, "wrong", unit.label)
        for unit in case.wrong
        if unit.start is not None and unit.end is not None
    ]
    lines = [
        f"<div>{marked_text(text, spans).replace(chr(10), '<br/>')}{'…' if len(case.text) > len(text) else ''}</div>"
    ]
    if case.question:
        lines.append(f"<div><b>{escape(case.question)}</b></div>")
    if case.number is not None:
        lines.append(_line("gold", number(case.number[0])) + _line("answer", number(round(case.number[1], 4))))
    elif case.written:
        lines += [_line("gold", unit.text) for unit in case.gold] + [_line("answer", unit.text) for unit in case.found]
    else:
        lines += [_line("missed", _named(unit.label, unit.text)) for unit in case.missed]
        lines += [_line("wrong", _named(unit.label, unit.text), unit.score) for unit in case.wrong]
    if case.source:
        lines.append(f'<div class="soft"><code>{escape(case.source)}</code></div>')
    return f'<div class="case">{"".join(lines)}</div>\n'


def _line(kind: str, text: str, score: float | None = None) -> str:
    sure = f" ({score:.2f})" if score is not None else ""
    return f'<div><span class="soft">{escape(translate(kind))}:</span> {escape(text)}{sure}</div>'


def _named(label: str, text: str) -> str:
    return f"{label}: {text}" if label and text else label or text or analysis.NONE


# -- what was made of the model ----------------------------------------------------------------------------------------


def _compression(root: Path) -> str:
    """Quality against time of all models and graphs that were measured."""
    models: list[tuple[str, float, float]] = []
    rows: list[list[Any]] = []
    for name in (DISTILL, PRUNE):
        place = root / name / RESULT
        if not place.is_file():
            continue
        for each in read_json(place).get("table", []):
            if each["score"] is not None:
                models.append((f"{each['model']}", each["alone_ms"], each["score"]))
            size = each["bytes"] / 1e6
            rows.append([f"{name}: {each['model']}", size, each["score"], each["alone_ms"], each["batch_ms"]])
    graphs: list[tuple[str, float, float]] = []
    receipt = _receipt_of(root, QUANTIZE)
    if receipt is not None:
        metric, speed = receipt["metric"], receipt["speed"]
        for name, scores, size, time in (
            ("float", receipt["before"], receipt["bytes_before"], "before_ms"),
            (str(receipt["precision"]), receipt["after"], receipt["bytes_after"], "after_ms"),
        ):
            graphs.append((name, speed["alone"][time], scores[metric]))
            times = [speed[way][time] for way in ("alone", "batches")]
            rows.append([f"{receipt['backend']}: {name}", size / 1e6, scores[metric], *times])
    if not rows:
        return ""
    groups = {translate("models in PaddlePaddle"): models, translate("graphs of the bundle"): graphs}
    columns = ["model", "megabytes", "score", "ms alone", "ms in a batch"]
    axis = translate("milliseconds of processor time for a text alone; upwards the score")
    return section(
        translate("Compression"),
        scatter(translate("Quality against time"), groups, axis),
        table(columns, rows),
    )


def _receipt_of(root: Path, name: str) -> dict[str, Any] | None:
    place = root / name / BUNDLE / RECEIPT
    return read_json(place) if place.is_file() else None


def _speed(root: Path) -> str:
    """Times of all bundles, shape by shape."""
    place = answer_file(root, BENCH)
    if not place.is_file():
        return ""
    results = read_json(place)["results"]
    shapes = [f"{shape['batch']} × {shape['length']}" for shape in results[0]["shapes"]]
    who = [
        f"{Path(each['place']).parent.name}: {each['backend']} {each['precision']}, "
        + translate("threads")
        + f" {each['threads']}"
        for each in results
    ]

    def grid(key: str) -> list[list[Any]]:
        return [[name, *(shape[key] for shape in each["shapes"])] for name, each in zip(who, results, strict=True)]

    columns = ["sequences × tokens", *shapes]
    return section(
        translate("Speed"),
        table(columns, grid("p50"), translate("Median milliseconds of a batch")),
        table(columns, grid("throughput"), translate("Sequences per second")),
        table(
            ["", "MB at most"],
            [[name, each["peak_megabytes"]] for name, each in zip(who, results, strict=True)],
            translate("Memory"),
        ),
    )


def _data(root: Path) -> str:
    """What `zoo data check` found."""
    place = answer_file(root, CHECK)
    if not place.is_file():
        return ""
    report = read_json(place)
    parts = [
        [part["name"], part["rows"], part["unit"], *(part["lengths"].get(key) for key in ("mean", "p50", "p95", "max"))]
        for part in report["parts"]
    ]
    names = [part["name"] for part in report["parts"]]
    labels = list(dict.fromkeys(label for part in report["parts"] for label in part["labels"]))
    counts = [[label, *(part["labels"].get(label, 0) for part in report["parts"])] for label in labels[:50]]
    prompts: dict[str, list[Any]] = {}
    for column, part in enumerate(report["parts"]):
        for prompt, found in part["prompts"].items():
            cells = prompts.setdefault(prompt, [""] * len(names))
            cells[column] = f"{found['positives']} / {found['negatives']}"
    findings = [[each["level"], each["part"], each["message"]] for each in report["findings"]]
    return section(
        translate("Data"),
        table(["part", "rows", "unit", "mean", "p50", "p95", "max"], parts),
        table(["label", *names], counts, translate("Labels")),
        table(
            ["prompt", *names],
            [[prompt, *cells] for prompt, cells in list(prompts.items())[:50]],
            translate("Prompts, with and without an answer"),
        ),
        table(["level", "part", "finding"], findings, translate("Findings")),
    )


def _receipt(root: Path) -> str:
    """What each step took and made, and what proves the bundle."""
    parts: list[str] = []
    export = _receipt_of(root, EXPORT)
    if export is not None:
        parts.append(_parity(export))
    if (root / STATE).is_file():
        state = State(root)
        costs = [
            [name, record.state, record.seconds, record.peak_megabytes, record.disk_bytes / 1e6]
            for name, record in state.records.items()
            if record.seconds
        ]
        parts.append(table(["step", "state", "seconds", "peak MB", "MB on disk"], costs, translate("Steps")))
        data = {name: digest for record in state.records.values() for name, digest in record.facts["data"].items()}
        parts.append(_hashes(translate("Data"), data))
        outputs = {name: record.output for name, record in state.records.items()}
        parts.append(_hashes(translate("Outputs: SHA-256 of the manifest or the answer"), outputs))
    return section(translate("Receipt"), *parts)


def _parity(receipt: Mapping[str, Any]) -> str:
    rows: list[list[Any]] = []
    for name, wrong in receipt["golden_differences"].items():
        differences = [row["difference"] for row in receipt["parity"] if row["backend"] == name]
        alike = f"{receipt['golden_requests'] - wrong} / {receipt['golden_requests']}"
        rows.append([name, len(differences), max(differences, default=None), alike])
    columns = ["back end", "shapes", "largest difference", "golden requests alike"]
    return table(columns, rows, translate("Agreement of the exported graphs with the model"))


def _hashes(title: str, hashes: Mapping[str, str | None]) -> str:
    rows = "".join(
        f"<div>{escape(name)}<br/><code>{escape(digest)}</code></div>\n" for name, digest in hashes.items() if digest
    )
    return f"<h3>{escape(title)}</h3>\n{rows}" if rows else ""
