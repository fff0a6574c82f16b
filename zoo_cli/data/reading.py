"""Questions and choices: SQuAD's JSON (CMRC 2018, DRCD, DuReader-robust), C3, ChID, CAIL 2019's similar cases, UTC, and
multiple choice as JSON lines."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.examples import ChoiceExample, OptionExample, QuestionExample, Span
from zoo_cli.data.formats import ChidOptions, NoOptions, SquadOptions
from zoo_cli.data.lines import field, json_items, json_member, json_rows, kind, text_lines

logger = logging.getLogger(__name__)

BLANK = "#idiom#"
"""What marks the blank of a cloze test in `ChoiceExample.context`."""

_BLANKS = re.compile(r"#idiom\d*#")
_OTHER_BLANK = "____"


def read_squad(path: Path, options: SquadOptions) -> Iterator[QuestionExample]:
    """Questions of a file in the format of SQuAD 1.1 or 2.0, which CMRC 2018, DRCD and DuReader-robust share.

    Wrong offsets are common (2 % of CMRC 2018): an answer that stands elsewhere in the text is moved to its occurrence
    nearest to the stated one; one that stands nowhere is kept for evaluation only. How many there were is logged.

    Raises:
        DataError: the file is not of that format, or (`wrong_offsets: error`) an offset is wrong (`bad-offset`).
    """
    moved = absent = 0
    for at, article in json_member(path, "data"):
        for paragraph in field(article, "paragraphs", list, at):
            context = field(paragraph, "context", str, at)
            for row in field(paragraph, "qas", list, at):
                name = str(field(row, "id", (str, int), at, ""))
                impossible = bool(row.get("is_impossible"))
                answers = []
                for entry in [] if impossible else field(row, "answers", list, at, []):
                    text, start = field(entry, "text", str, at), field(entry, "answer_start", int, at, -1)
                    if not text:
                        continue
                    if start < 0 or context[start : start + len(text)] != text:
                        if options.wrong_offsets == "error":
                            raise _bad_offset(context, start, text, name, at)
                        start = _nearest(context, text, start)
                        moved, absent = moved + (start >= 0), absent + (start < 0)
                    answers.append(Span(start, start + len(text), text) if start >= 0 else Span(-1, -1, text))
                yield QuestionExample(context, field(row, "question", str, at), answers, impossible, name or None, at)
    if moved or absent:
        logger.warning(
            "%s: %d answers do not stand at their answer_start; %d were found elsewhere in the text, %d nowhere",
            path,
            moved + absent,
            moved,
            absent,
        )


def _nearest(context: str, text: str, start: int) -> int:
    """Start of the occurrence of `text` nearest to `start`, or -1; a tie goes to the left one."""
    left = context.rfind(text, 0, max(start, 0) + len(text))
    right = context.find(text, max(start, 0))
    if left < 0 or right < 0:
        return max(left, right)
    return left if start - left <= right - start else right


def _bad_offset(context: str, start: int, text: str, name: str, at: Location) -> DataError:
    return DataError(
        "bad-offset",
        "question {name!r}: the text has {found!r} at answer_start {start}, not {text!r}",
        at=at,
        fix="`wrong_offsets: repair` looks for the answer nearby",
        name=name,
        found=context[start : start + len(text)] if start >= 0 else "",
        start=start,
        text=text,
    )


def _json(path: Path) -> Any:
    """The one JSON value of a file."""
    text = "\n".join(line for _, line in text_lines(path))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = Location.of(path, error.lineno, error.colno)
        raise DataError("broken-json", "not valid JSON: {reason}", at=place, reason=error.msg) from error
    except RecursionError as error:
        raise DataError("broken-json", "the JSON is nested too deeply", at=Location.of(path)) from error


def read_c3(path: Path, options: NoOptions) -> Iterator[ChoiceExample]:
    """Questions of C3: a list of ``[[line of the dialogue or text, ...], [question, ...], id]``.

    Raises:
        DataError: the file is not of that format, or an answer is not among the choices (`bad-answer`).
    """
    for at, item in json_items(path):
        if not isinstance(item, list) or len(item) < 2 or not all(isinstance(part, list) for part in item[:2]):
            raise DataError("wrong-type", "expected a list of the text, its questions and an id", at=at)
        name = str(item[2]) if len(item) > 2 else ""
        context = "\n".join(_strings(item[0], "the text", at))
        for number, row in enumerate(item[1]):
            choices = _strings(field(row, "choice", list, at), "'choice'", at)
            yield ChoiceExample(
                context,
                field(row, "question", str, at),
                choices,
                _answer(row.get("answer") or None, choices, at),
                f"{name}-{number}" if name else None,
                at,
            )


def read_chid(path: Path, options: ChidOptions) -> Iterator[ChoiceExample]:
    """Blanks of ChID: ``{"content": text or texts, "candidates": [idiom, ...], "answer": index}`` lines.

    Each blank (``#idiom#``, or in CLUE ``#idiom000378#``) is one example, in which the text's other blanks are
    underscores. FewCLUE gives the index in the line, CLUE in files of their own (option `answers`),
    each blank under a number that no other has.

    Raises:
        DataError: the file is not of that format, a text has no blank (`no-blank`), or an answer is not among the
            choices (`bad-answer`).
    """
    answers: dict[str, Any] = {}
    for name in options.answers:
        found = _json(Path(name))
        if not isinstance(found, dict):
            raise DataError("wrong-type", "expected an object, found {found}", at=Location.of(name), found=kind(found))
        answers |= found
    for at, row in json_rows(path):
        content = field(row, "content", (str, list), at)
        choices = _strings(field(row, "candidates", list, at), "'candidates'", at)
        for text in _strings([content] if isinstance(content, str) else content, "'content'", at):
            blanks = list(_BLANKS.finditer(text))
            if not blanks:
                raise DataError("no-blank", "the text has no blank {blank}", at=at, blank=BLANK)
            for blank in blanks:
                before, after = text[: blank.start()], text[blank.end() :]
                context = _BLANKS.sub(_OTHER_BLANK, before) + BLANK + _BLANKS.sub(_OTHER_BLANK, after)
                answer = answers.get(blank.group(), row.get("answer"))
                yield ChoiceExample(context, "", choices, _answer(answer, choices, at), _chid_name(row, blank), at)


def _chid_name(row: dict[str, Any], blank: re.Match[str]) -> str | None:
    if blank.group() != BLANK:
        return blank.group()
    return str(row["id"]) if "id" in row else None


def read_choices(path: Path, options: NoOptions) -> Iterator[ChoiceExample]:
    """``{"context", "question", "choices": [...], "answer"}`` lines, or one JSON list of such.

    The answer is an index or one of the choices.

    `context` or `question` may be missing, and so may `answer` and `id`.

    Raises:
        DataError: a line is not of that form, or its answer is not among the choices (`bad-answer`).
    """
    for at, row in json_rows(path):
        choices = _strings(field(row, "choices", list, at), "'choices'", at)
        yield ChoiceExample(
            field(row, "context", str, at, ""),
            field(row, "question", str, at, ""),
            choices,
            _answer(row.get("answer"), choices, at),
            str(row["id"]) if "id" in row else None,
            at,
        )


def read_cail_scm(path: Path, options: NoOptions) -> Iterator[ChoiceExample]:
    """``{"A", "B", "C", "label"}`` lines of CAIL 2019's similar case matching: is B or C more like A?

    `label` is ``"B"`` or ``"C"`` and may be missing.

    Raises:
        DataError: a line is not of that form, or has another label (`bad-answer`).
    """
    for at, row in json_rows(path):
        text, *choices = (field(row, key, str, at) for key in "ABC")
        label = row.get("label")
        if label not in ("B", "C", None):
            raise DataError("bad-answer", "the label is {label!r}, neither 'B' nor 'C'", at=at, label=label)
        yield ChoiceExample(text, "", choices, None if label is None else "BC".index(label), source=at)


def read_utc(path: Path, options: NoOptions) -> Iterator[OptionExample]:
    """PaddleNLP's ``{"text_a", "text_b", "choices": [...], "labels": [numbers]}`` lines.

    `text_b` may be missing or empty, `labels` may be one number or missing; PaddleNLP does not read `question` either.

    Raises:
        DataError: a line is not of that form, or a label is not the number of a choice (`bad-answer`).
    """
    for at, row in json_rows(path):
        choices = _strings(field(row, "choices", list, at), "'choices'", at)
        labels = row.get("labels")
        if labels is not None:
            labels = [_number(value, choices, at) for value in (labels if isinstance(labels, list) else [labels])]
        pair = field(row, "text_b", str, at, "") or None
        yield OptionExample(
            field(row, "text_a", str, at), pair, choices, labels, str(row["id"]) if "id" in row else None, at
        )


def _number(value: Any, choices: list[str], at: Location) -> int:
    if type(value) is int and 0 <= value < len(choices):
        return value
    raise DataError(
        "bad-answer",
        "the label {value!r} is not the number of one of {count} choices",
        at=at,
        value=value,
        count=len(choices),
    )


def _strings(values: Any, what: str, at: Location) -> list[str]:
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise DataError("wrong-type", "{what} is not a list of strings", at=at, what=what)
    return values


def _answer(value: Any, choices: list[str], at: Location) -> int | None:
    """Index of the answer among the choices, however it is given."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    if isinstance(value, str) and value in choices:
        return choices.index(value)
    raise DataError(
        "bad-answer",
        "the answer {value!r} is not among the choices {choices}",
        at=at,
        value=value,
        choices=", ".join(choices),
    )
