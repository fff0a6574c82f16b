"""Files of prompts, texts and answers as corpora for pretraining, in constant memory.

The files are those that fine-tuning reads: ``{"content", "prompt", "result_list": [{"text", "start", "end"}]}`` lines.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, Location
from zoo_cli.base.files import sha256_json, write_json
from zoo_cli.data.annotations import prompt_example
from zoo_cli.data.corpus.builder import tokenizer_digest
from zoo_cli.data.corpus.format import IDS, INDEX, REPORT, ArrayWriter, id_type, write_index
from zoo_cli.data.corpus.prompts import PAIRS, SPANS
from zoo_cli.data.corpus.reading import find_files
from zoo_cli.data.examples import PromptExample
from zoo_cli.data.lines import byte_lines
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tasks.extraction.preprocess import training_windows
from zoo_cli.tasks.extraction.spec import ExtractionOptions
from zoo_cli.tasks.extraction.task import ExtractionTask
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

logger = logging.getLogger(__name__)

_ENDINGS = (IDS, INDEX, SPANS, PAIRS)
_Window = tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]
"""Tokens of a prompt and of a text, and first and last tokens of answers."""
_FIRST = 5
"""How many places of each kind of fault are kept."""


class RawPrompts:
    """Files of prompts, and the corpus that they become; see `zoo_cli.data.corpus.raw.RawText`.

    Args:
        path: file, or folder of files.
        folder: where the corpus is put.
        tokenizer: makes tokens.
        section: `max_length`, up to which texts are cut into windows as in fine-tuning.

    Raises:
        DataError: there are no files.
    """

    def __init__(self, path: str, folder: Path, tokenizer: PretrainedTokenizer, section: PretrainSection) -> None:
        self._files, _ = find_files([Path(path)])
        self._tokenizer = tokenizer
        self._task = ExtractionTask(ExtractionOptions(max_length=section.max_length), tokenizer, ())
        stamps = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in self._files]
        name = sha256_json([stamps, section.max_length, tokenizer_digest(tokenizer)])
        self.prefix = str(folder / f"{Path(path).name.split('.')[0]}-{name[:12]}")

    def build(self) -> None:
        """Build the corpus, unless it is there. Lines that are no pair are counted, reported and left out.

        Raises:
            DataError: no line is a pair (`empty-corpus`).
        """
        if Path(self.prefix + REPORT).is_file():
            return
        folder = Path(self.prefix + ".building")
        folder.mkdir(parents=True, exist_ok=True)
        report = self._write(folder)
        for ending in _ENDINGS:
            (folder / f"corpus{ending}").replace(self.prefix + ending)
        shutil.rmtree(folder)
        write_json(Path(self.prefix + REPORT), report)

    def _write(self, folder: Path) -> dict[str, Any]:
        """Write all files but the report, which is returned."""
        faults = _Faults()
        lines = 0
        with ExitStack() as stack:
            ids, lens, spans, pairs = (
                _writer(stack, folder / name, dtype, columns)
                for name, dtype, columns in (
                    (f"corpus{IDS}", id_type(len(self._tokenizer)), None),
                    ("lens.npy", np.dtype("<i4"), None),
                    (f"corpus{SPANS}", np.dtype("<i4"), 2),
                    (f"corpus{PAIRS}", np.dtype("<i8"), 4),
                )
            )
            for example, windows in self._pairs(faults):
                lines += 1
                own = _hash(example.content), _hash(example.prompt)
                for prompt, text, answers in windows:
                    pairs.append(np.array([[ids.rows, spans.rows + len(answers), *own]]))
                    ids.append(np.concatenate([prompt, text]))
                    lens.append(np.array([len(prompt), len(text)]))
                    spans.append(np.array(answers, np.int32).reshape(-1, 2))
        faults.tell()
        if not pairs.rows:
            raise DataError(
                "empty-corpus",
                "no line is a prompt with a text",
                at=Location.of(self._files[0]),
                fix='lines are {{"content": ..., "prompt": ..., "result_list": [...]}}; `zoo data convert` writes them',
            )
        sizes = np.load(folder / "lens.npy", mmap_mode="r")
        write_index(str(folder / "corpus"), sizes, np.arange(pairs.rows + 1) * 2)
        return {
            "lines": lines,
            "documents": pairs.rows,
            "answers": spans.rows,
            "tokens": ids.rows,
            "faults": {kind: {"count": faults.counts[kind], "at": faults.places[kind]} for kind in faults.counts},
        }

    def _pairs(self, faults: _Faults) -> Iterator[tuple[PromptExample, list[_Window]]]:
        """The pairs of all files with their windows; lines that are none are counted."""
        for file in self._files:
            for number, line in enumerate(byte_lines(file), 1):
                if not line.strip():
                    continue
                try:
                    example = _read(line, Location.of(file, number))
                    windows = list(self._windows(example))
                except DataError as error:
                    faults.add(error.code, f"{file}:{number}")
                    continue
                yield example, windows

    def _windows(self, example: PromptExample) -> Iterator[_Window]:
        """Tokens of the prompt, of each window of the text, and the answers there, counted through both."""
        located = self._task.locate(example)
        prompt, text = located.prompt.encoding.ids[located.prompt.own], located.text
        room = self._task.encoder.room(located.prompt, self._task.options.max_length)
        for start, stop in training_windows(len(text.ids), room, located.in_text):
            inside = [(a, b) for a, b in located.in_text if start <= a and b < stop]
            shift = len(prompt) - start
            yield prompt, text.ids[start:stop], [*located.in_prompt, *((a + shift, b + shift) for a, b in inside)]


class _Faults:
    """Lines that are no pair: how many of each kind, and where the first few are."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, place: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= _FIRST:
            self.places[kind].append(place)

    def tell(self) -> None:
        """Log what was left out."""
        for kind, count in self.counts.items():
            logger.warning("%d lines left out (%s), first at %s", count, kind, ", ".join(self.places[kind]))


def _read(line: bytes, at: Location) -> PromptExample:
    """The pair of a line.

    Raises:
        DataError: it is none.
    """
    try:
        example = prompt_example(json.loads(line.decode("utf-8")), at)
        (example.content + example.prompt).encode()  # JSON can spell half of a surrogate pair
    except ValueError as error:
        raise DataError("broken-json", "the line is not JSON", at=at) from error
    return example


def _writer(stack: ExitStack, path: Path, dtype: np.dtype, columns: int | None) -> ArrayWriter:
    writer = ArrayWriter(path, dtype, columns)
    stack.callback(writer.close)
    return writer


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
