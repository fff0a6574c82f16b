"""Texts that a teacher labels: which ones, its answers on disk, and the examples that a student learns from."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, Location, PlatformError
from zoo_cli.base.files import sha256_file
from zoo_cli.base.progress import progress
from zoo_cli.base.resources import locate
from zoo_cli.data.conversion import as_annotated
from zoo_cli.data.examples import AnnotatedText
from zoo_cli.data.lines import json_objects, text_lines
from zoo_cli.data.sources import read_examples
from zoo_cli.engine.answering import load_pipeline
from zoo_cli.models.checkpoint import PDPARAMS, SAFETENSORS
from zoo_cli.recipe.schema import DataSection, LabellingSection
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.loading import open_bundle
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.closed_extraction.gold import annotation_row, example_of
from zoo_cli.tasks.closed_extraction.task import ClosedExtractionTask

logger = logging.getLogger(__name__)

TEXT = "text"
"""Format of texts without annotation, one a line."""
GROUP = 256
"""Texts that are answered and written together. A text's probabilities depend on its batch in the last digit, so a run
that goes on does so at the start of a group."""


def texts_to_label(section: LabellingSection, data: DataSection, gold: Sequence[AnnotatedText], seed: int) -> list[str]:
    """The texts that the teacher is asked about: no more than the ratio allows, in the order of the files.

    Args:
        section: names the files.
        data: how labelled files are written.
        gold: the annotated texts.
        seed: of the choice where there are too many.

    Raises:
        DataError: a file cannot be read, or there is no text (`no-texts`).
    """
    if not section.texts:
        texts = [example.text for example in gold]
    elif section.format == TEXT:
        texts = [line.strip() for name in section.texts for _, line in text_lines(locate(name))]
    else:
        written = DataSection(format=section.format, options=data.options if section.format == data.format else {})
        texts = [as_annotated(example).text for example in read_examples(section.texts, written)]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError("no-texts", "there is no text to label", fix="look at distill.labelling.texts")
    most = len(texts) if section.ratio < 0 else section.ratio * len(gold)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:most])
    return [texts[index] for index in chosen]


def open_teacher(folder: Path, exported: Path, device: str) -> Pipeline:
    """The teacher as a pipeline: through its exported graph on a CPU if there is one, which is faster.

    Args:
        folder: model folder or bundle.
        exported: where `zoo export` would have put its bundle; taken only if it holds the same weights.
        device: what paddle computes on.
    """
    for bundle in (folder, exported) if device == "cpu" else ():
        if bundle.is_dir() and graphs(bundle) and _same_weights(bundle, folder):
            try:
                opened = open_bundle(bundle)
            except PlatformError as error:
                logger.info("%s is not used: %s", bundle, error)
                continue
            logger.info("the teacher answers through the %s graph of %s", opened.engine, bundle)
            return opened.pipeline()
    return load_pipeline(folder)


def _same_weights(one: Path, other: Path) -> bool:
    digests = [
        {sha256_file(folder / name) for name in (SAFETENSORS, PDPARAMS) if (folder / name).is_file()}
        for folder in (one, other)
    ]
    return one == other or bool(digests[0] & digests[1])


def label(texts: Sequence[str], teacher: Pipeline, task: ClosedExtractionTask, place: Path) -> None:
    """Write the teacher's answer to each text that is not answered yet; see `annotation_row` for the lines.

    The file gets its name when all texts are answered. Until then a process that is killed leaves a part, with which
    the next one goes on.

    Args:
        texts: the texts.
        teacher: answers them.
        task: of the student, whose schema the teacher is asked for.
        place: the file.
    """
    partial = place.with_name(f"{place.name}.partial")
    if place.is_file():
        place.replace(partial)  # complete, unless there are other texts by now
    done = _done(partial, texts)
    with partial.open("a", encoding="utf-8") as file, progress("Labelling texts", len(texts), done) as show:
        for start in range(done, len(texts), GROUP):
            group = texts[start : start + GROUP]
            found = teacher.stream([{"text": text, "schema": task.options.schema} for text in group])
            for text, answers in zip(group, found, strict=True):
                row = annotation_row(text, answers, task.layout.slots, task.options.separator)
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            show(len(group))
    partial.replace(place)


def _done(partial: Path, texts: Sequence[str]) -> int:
    """How many texts an interrupted run has answered; a group that was cut short is removed, and so are all if they are
    of other texts."""
    if not partial.is_file():
        return 0
    content = partial.read_bytes()
    lines = content.split(b"\n")[:-1]
    if len(lines) != len(texts):
        lines = lines[: len(lines) // GROUP * GROUP]
    if [json.loads(line)["text"] for line in lines] != list(texts[: len(lines)]):
        lines = []
    whole = b"".join(line + b"\n" for line in lines)
    if whole != content:
        partial.write_bytes(whole)
    logger.info("%d texts were labelled before", len(lines))
    return len(lines)


def labelled_examples(place: Path, section: LabellingSection, separator: str, seed: int) -> list[AnnotatedText]:
    """The examples in a file that `label` wrote: all with a find, and some of those without.

    Args:
        place: the file.
        section: says what is left out.
        separator: what parts an entity's label from its class.
        seed: of the choice of texts without a find.
    """
    examples = list(_read(place, section.threshold, separator))
    empty = [index for index, each in enumerate(examples) if not (each.entities or each.classes)]
    if section.negative_ratio >= 0:
        most = section.negative_ratio * (len(examples) - len(empty))
        dropped = set(np.random.default_rng(seed).permutation(empty)[most:].tolist())
        examples = [each for index, each in enumerate(examples) if index not in dropped]
    return examples


def _read(place: Path, threshold: float, separator: str) -> Iterator[AnnotatedText]:
    at: Location
    row: dict[str, Any]
    for at, row in json_objects(place):
        example = example_of(row, threshold, separator)
        example.source = at
        yield example
