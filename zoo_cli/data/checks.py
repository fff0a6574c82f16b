"""Faults of labelled data that training would not notice: `zoo data check`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from zoo_cli.base.errors import DataError, Location, ZooError, raise_all
from zoo_cli.data.annotations import check_links
from zoo_cli.data.conversion import ConversionOptions, as_annotated, take_inventory, to_prompts
from zoo_cli.data.examples import (
    AnnotatedText,
    ChoiceExample,
    DialogueExample,
    Example,
    OptionExample,
    PromptExample,
    QuestionExample,
    TaggedTokens,
    TextExample,
)
from zoo_cli.data.lines import byte_lines
from zoo_cli.data.readers import read
from zoo_cli.data.repair import anchor, fits, fold_width
from zoo_cli.data.report import SHOWN, Finding, PartReport, Report
from zoo_cli.data.sources import renamed
from zoo_cli.data.tagged import parse_tag, to_annotated
from zoo_cli.recipe.schema import Section
from zoo_cli.tokenizers.base import Tokenizer

RARE = 10
IMBALANCE = 20
_BATCH = 256
_FULL_WIDTH = re.compile(r"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_OPTIONS = re.compile(r"\[[^\[\]]*,[^\[\]]*\]$")
_Item = TypeVar("_Item")


def check_files(
    files: Mapping[str, str | Path],
    format: str,
    options: Mapping[str, Any] | Section | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    conversion: ConversionOptions | None = None,
    max_length: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Report:
    """Examine the parts of a data set.

    Args:
        files: name of each part -> its file; the first is the training part.
        format: their format.
        options: of the format.
        labels: label in the files -> name that it is given.
        conversion: count the prompts that annotations are converted to with these options.
        max_length: most tokens of one sequence.
        tokenizer: counts tokens; without one a character counts as a token.

    Raises:
        UsageError: there is no such format or option.
        DataError: a file is broken or empty; of several files all faults.
    """
    report = Report()
    checks: list[_PartCheck] = []
    faults: list[ZooError] = []
    for name, path in files.items():
        check = _PartCheck(name, Path(path), format, options, labels or {}, max_length, tokenizer)
        try:
            check.run(conversion, training=not report.parts)
        except DataError as error:
            faults.append(error)
        report.parts.append(check.part)
        checks.append(check)
    raise_all(faults)
    for number, check in enumerate(checks):
        check.compare(checks[:number])
        report.findings += check.findings.values()
    order = {"error": 0, "warning": 1, "note": 2}
    report.findings.sort(key=lambda finding: order[finding.level])
    return report


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


class _PartCheck:
    """Reads one part and collects what is wrong with it."""

    def __init__(
        self,
        name: str,
        path: Path,
        format: str,
        options: Mapping[str, Any] | Section | None,
        names: Mapping[str, str],
        max_length: int | None,
        tokenizer: Tokenizer | None,
    ) -> None:
        self.part = PartReport(name, str(path), unit="tokens" if tokenizer else "characters")
        self.findings: dict[str, Finding] = {}
        self.path, self.format, self.options, self.names = path, format, options, names
        self.max_length, self.tokenizer = max_length, tokenizer
        self.lengths: list[int] = []
        self.texts: dict[bytes, Location | None] = {}
        self._labels_of: dict[bytes, str] = {}

    def found(self, code: str, at: Location | None = None, count: int = 1, **values: Any) -> None:
        finding = self.findings.setdefault(code, Finding(code, self.part.name, values=values))
        finding.count += count
        if at is not None and len(finding.at) < SHOWN:
            finding.at.append(at)

    # -- one pass ---------------------------------------------------------------------------------------------------

    def run(self, conversion: ConversionOptions | None, training: bool) -> None:
        self._line_ends()
        sources: list[AnnotatedText] = []
        for batch in _batches(read(self.path, self.format, self.options, strict=False)):
            # Tagged tokens are looked at as the text that they make.
            plain = [self._plain(renamed(example, self.names)) for example in batch]
            for example in plain:
                self._example(example)
                if conversion is not None and isinstance(example, AnnotatedText | TextExample):
                    sources.append(as_annotated(example))
            self._measure(plain)
        if conversion is not None:
            self._convert(sources, conversion, training)
        if training:
            self._balance()
        self._label_drift()
        self._prompts()
        if self.lengths:
            sizes = np.asarray(self.lengths)
            self.part.lengths = {
                "mean": round(float(sizes.mean()), 1),
                "p50": float(np.percentile(sizes, 50)),
                "p95": float(np.percentile(sizes, 95)),
                "max": float(sizes.max()),
            }

    def _line_ends(self) -> None:
        lines = crlf = 0
        for line in byte_lines(self.path):
            lines += line.endswith(b"\n")
            crlf += line.endswith(b"\r\n")
        if 0 < crlf < lines:
            self.found("mixed-line-ends", count=crlf, other=lines - crlf)
        elif crlf:
            self.found("crlf-lines", count=crlf)

    def _plain(self, example: Example) -> Example:
        if not isinstance(example, TaggedTokens):
            return example
        before = "O", ""
        for tag in example.tags or []:
            prefix, label = parse_tag(tag)
            if prefix in "IMEL" and (before[1] != label or before[0] in "ESLU"):
                self.found("irregular-tags", example.source)
            before = prefix, label
        return to_annotated(example)

    def _example(self, example: Example) -> None:
        self.part.rows += 1
        text, key, label = _identity(example)
        if not text.strip():
            self.found("empty-text", example.source)
        if "\r" in text:
            self.found("carriage-return", example.source)
        if _FULL_WIDTH.search(text):
            self.found("full-width", example.source)
        self._repeats(text, key, label, example.source)
        match example:
            case AnnotatedText():
                self._annotated(example)
            case PromptExample():
                self._prompt(example)
            case QuestionExample():
                for answer in example.answers:
                    self._span(example.context, answer.start, answer.end, answer.text, example.source)
            case ChoiceExample(answer=int()):
                self.part.labels[f"choice {example.answer}"] += 1
            case OptionExample(labels=list() as numbers):
                self.part.labels.update(example.options[number] for number in numbers)
            case TextExample(label=str() as label):
                self.part.labels[label] += 1
            case TextExample(label=[_, *_] as labels):
                self.part.labels.update(labels)
            case TextExample(label=float()) | DialogueExample(response=str()):
                pass
            case _:
                self.found("unlabelled", example.source)

    def _repeats(self, text: str, key: str, label: str, at: Location | None) -> None:
        self.texts.setdefault(_digest(text), at)
        row = _digest(key)
        if row not in self._labels_of:
            self._labels_of[row] = label
        else:
            self.found("duplicate" if self._labels_of[row] == label else "conflicting-duplicate", at)

    def _annotated(self, example: AnnotatedText) -> None:
        check_links(example.entities, example.relations, example.source)
        spans = []
        for entity in example.entities:
            self._span(example.text, entity.start, entity.end, entity.text, example.source)
            spans.append((entity.start, entity.end, entity.label))
        self._overlaps(spans, example.source)
        self.part.labels.update(entity.label for entity in example.entities)
        self.part.labels.update(relation.label for relation in example.relations)
        self.part.labels.update(example.classes)
        if not (example.entities or example.classes):
            self.found("unlabelled", example.source)

    def _prompt(self, example: PromptExample) -> None:
        spans = []
        for span in example.spans:
            if span.start < 0:
                bias = len(example.prompt) + 1
                self._span(example.prompt, span.start + bias, span.end + bias, span.text, example.source)
            else:
                self._span(example.content, span.start, span.end, span.text, example.source)
                spans.append((span.start, span.end, example.prompt))
        self._overlaps(spans, example.source)
        self._count(example)

    def _count(self, example: PromptExample) -> None:
        self.part.prompts.setdefault(example.prompt, [0, 0])[not example.spans] += 1

    def _span(self, text: str, start: int, end: int, stated: str | None, at: Location | None) -> None:
        if fits(text, start, end, stated):
            if text[start].isspace() or text[end - 1].isspace():
                self.found("span-blank", at)
            return
        place = anchor(text, start, stated) if stated is not None else None
        if place is not None:
            self.found(f"offset-{place.cause}", at)
        else:
            self.found("offset-lost" if 0 <= start < end <= len(text) else "offset-outside", at)

    def _overlaps(self, spans: list[tuple[int, int, str]], at: Location | None) -> None:
        """Count each span once for the worst that it does to one before it."""
        spans = sorted(set(spans), key=lambda span: (span[0], -span[1]))
        for index, (start, end, label) in enumerate(spans):
            over = [span for span in spans[:index] if span[1] > start]
            if any(span[2] == label for span in over):
                self.found("same-label-overlap", at)
            elif any(span[1] < end for span in over):
                self.found("overlapping-spans", at)
            elif over:
                self.found("nested-spans", at)

    # -- lengths ----------------------------------------------------------------------------------------------------

    def _measure(self, batch: Sequence[Example]) -> None:
        """Lengths of a batch with special tokens, and the answers that a cut at `max_length` would lose."""
        read_as = [_sequence(example) for example in batch]
        pairs = [(first, second) for first, second, _ in read_as]
        if self.tokenizer is None:
            lengths = [len(first) + (len(second) + 3 if second is not None else 2) for first, second in pairs]
        else:
            lengths = [len(encoding.ids) for encoding in self._encode(pairs)]
        self.lengths += lengths
        limit = self.max_length
        if limit is None:
            return
        for example, (first, second, ends), length in zip(batch, read_as, lengths, strict=True):
            if length <= limit:
                continue
            self.found("too-long", example.source, limit=limit, unit=self.part.unit, total=0)
            kept = self._kept(first, second)
            beyond = sum(end > kept for end in ends)
            if beyond:
                self.found("answer-cut", example.source, beyond, limit=limit, unit=self.part.unit)
        if "too-long" in self.findings:
            self.findings["too-long"].values["total"] = self.part.rows

    def _encode(self, pairs: Sequence[tuple[str, str | None]], max_length: int | None = None) -> list[Any]:
        assert self.tokenizer is not None
        encodings: list[Any] = [None] * len(pairs)
        for paired in (False, True):
            rows = [row for row, pair in enumerate(pairs) if (pair[1] is not None) == paired]
            if rows:
                firsts = [pairs[row][0] for row in rows]
                seconds = [pairs[row][1] or "" for row in rows] if paired else None
                for row, encoding in zip(rows, self.tokenizer.encode_batch(firsts, seconds, max_length), strict=True):
                    encodings[row] = encoding
        return encodings

    def _kept(self, first: str, second: str | None) -> int:
        """Characters of the last text that a cut at `max_length` leaves."""
        assert self.max_length is not None
        if self.tokenizer is None:
            return self.max_length - (2 if second is None else len(first) + 3)
        (encoding,) = self._encode([(first, second)], self.max_length)
        own = encoding.sequence_ids == (0 if second is None else 1)
        return int(encoding.offsets[own, 1].max(initial=0))

    # -- after the pass ---------------------------------------------------------------------------------------------

    def _convert(self, texts: Sequence[AnnotatedText], conversion: ConversionOptions, training: bool) -> None:
        """Count the prompts that the annotations become; texts with wrong offsets are counted as errors already."""
        inventory = take_inventory(texts, conversion)
        for text in texts:
            try:
                for prompt in to_prompts(text, inventory, conversion, training):
                    self._count(prompt)
            except DataError as error:
                if error.code != "bad-offset":
                    self.found("not-convertible", text.source, example=error.message)

    def _balance(self) -> None:
        ordered = self.part.labels.most_common()
        rare = [label for label, count in ordered if count < RARE]
        if rare:
            self.found("rare-label", count=len(rare), limit=RARE, names=", ".join(rare))
        if ordered and ordered[0][1] >= IMBALANCE * ordered[-1][1]:
            (most, highest), (least, lowest) = ordered[0], ordered[-1]
            self.found("label-imbalance", most=most, least=least, factor=highest / lowest)

    def _label_drift(self) -> None:
        folded = {label: "".join(fold_width(label).lower().split()) for label in self.part.labels}
        variants = Counter(folded.values())
        alike = sorted(label for label in folded if variants[folded[label]] > 1)
        if alike:
            self.found("label-drift", count=len(alike), names=", ".join(map(repr, alike)))

    def _prompts(self) -> None:
        self.part.prompts = _joined(self.part.prompts)
        never = [
            name for name, (_, negatives) in self.part.prompts.items() if not negatives and not _OPTIONS.search(name)
        ]
        if never and any(negatives for _, negatives in self.part.prompts.values()):
            self.found("no-negatives", count=len(never), names=", ".join(never[:SHOWN]))

    def compare(self, earlier: Sequence[_PartCheck]) -> None:
        """Findings between this part and those before it."""
        for other in earlier:
            shared = self.texts.keys() & other.texts.keys()
            if shared:
                places = sorted((self.texts[key] for key in shared), key=lambda at: at.line or 0 if at else 0)
                finding = Finding("leakage", self.part.name, len(shared), values={"other": other.part.name})
                finding.at = [place for place in places[:SHOWN] if place is not None]
                self.findings[f"leakage {other.part.name}"] = finding
        if earlier:
            unseen = sorted(self.part.labels.keys() - earlier[0].part.labels.keys())
            if unseen:
                self.found("unseen-label", count=len(unseen), other=earlier[0].part.name, names=", ".join(unseen))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=12).digest()


def _identity(example: Example) -> tuple[str, str, str]:
    """Text (for leakage), what must not repeat, and its label."""
    match example:
        case TextExample():
            text = example.text if example.text_pair is None else f"{example.text}\t{example.text_pair}"
            return text, text, repr(example.label)
        case PromptExample():
            return example.content, f"{example.prompt}\t{example.content}", repr(example.spans)
        case QuestionExample():
            return example.context, f"{example.question}\t{example.context}", repr(example.answers)
        case ChoiceExample():
            key = "\t".join([example.question, *example.choices, example.context])
            return example.context, key, repr(example.answer)
        case OptionExample():
            text = example.text if example.text_pair is None else f"{example.text}\t{example.text_pair}"
            return text, "\t".join([text, *example.options]), repr(sorted(example.labels or []))
        case DialogueExample():
            text = "\t".join(example.history)
            return text, "\t".join([text, *example.knowledge, *example.persona]), repr(example.response)
        case _:
            annotated = as_annotated(example)
            places = sorted((entity.start, entity.end, entity.label) for entity in annotated.entities)
            return annotated.text, annotated.text, repr((places, sorted(annotated.classes)))


def _sequence(example: Example) -> tuple[str, str | None, list[int]]:
    """What the model reads, one text or two, and the ends of the answers in the last of them."""
    match example:
        case TextExample():
            return example.text, example.text_pair, []
        case PromptExample():
            return example.prompt, example.content, [span.end for span in example.spans if span.start >= 0]
        case QuestionExample():
            return example.question, example.context, [span.end for span in example.answers]
        case ChoiceExample():
            return example.question + max(example.choices, key=len), example.context, []
        case OptionExample():
            return "".join(example.options), example.text + (example.text_pair or ""), []
        case DialogueExample():
            return "".join([*example.knowledge, *example.persona]), "".join(example.history), []
        case _:
            annotated = as_annotated(example)
            return annotated.text, None, [entity.end for entity in annotated.entities]


def _joined(prompts: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Counts with the subjects of relations left out (``…的出生地``) and the options of classifications in order.

    A prompt is taken for a relation when another one ends (English: begins) alike.
    """

    def unify(prompt: str) -> str:
        match = _OPTIONS.search(prompt)
        if match is None:
            return prompt
        return f"{prompt[: match.start()]}[{','.join(sorted(match[0][1:-1].split(',')))}]"

    def relation(prompt: str) -> str | None:
        match = _OPTIONS.search(prompt)
        head = prompt[: match.start()] if match else prompt
        options = prompt[match.start() :] if match else ""
        if " of " in head:
            return f"{head.split(' of ', 1)[0]} of …{options}"
        return f"…的{head.rsplit('的', 1)[1]}{options}" if "的" in head else None

    unified = [(unify(prompt), counts) for prompt, counts in prompts.items()]
    shared = Counter(name for name in {prompt: relation(prompt) for prompt, _ in unified}.values() if name)
    joined: dict[str, list[int]] = {}
    for prompt, (positives, negatives) in unified:
        name = relation(prompt)
        entry = joined.setdefault(name if name and shared[name] > 1 else prompt, [0, 0])
        entry[0] += positives
        entry[1] += negatives
    return joined
