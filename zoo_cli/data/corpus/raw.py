"""Raw text among the corpora of a recipe, made into corpora of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from zoo_cli.base.environment import owned_cores
from zoo_cli.base.errors import DataError, Location
from zoo_cli.base.files import atomic_file, sha256_json
from zoo_cli.data.corpus.builder import build_corpus, tokenizer_digest
from zoo_cli.data.corpus.encoding import EncodingOptions
from zoo_cli.data.corpus.format import REPORT, is_text, open_corpus
from zoo_cli.data.corpus.reading import ReadingOptions, find_files
from zoo_cli.data.lines import byte_lines
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

_SMALL = 8 << 20  # bytes that one process reads before others would have started


class Source(Protocol):
    """Something that is made into a corpus."""

    prefix: str
    """Path of the corpus without endings."""

    def build(self) -> None:
        """Build the corpus, or go on with building it, unless it is there."""


class RawText:
    """Files of raw text, and the corpus that they become.

    The corpus is named after all that it depends on, so that one that is there already can be taken as it is.

    Args:
        path: file, or folder of files.
        folder: where the corpus is put.
        tokenizer: makes tokens.
        section: how the text is read and encoded.

    Raises:
        UsageError: options do not go together.
        DataError: there are no files.
    """

    def __init__(self, path: str, folder: Path, tokenizer: PretrainedTokenizer, section: PretrainSection) -> None:
        options = section.raw_text
        reading = ReadingOptions(options.format, options.documents, options.json_key, options.encoding)
        causal = section.objective == "causal"
        encoding = EncodingOptions(
            sentences="none" if causal else options.sentences,
            segmenter=options.segmenter,
            word_marks=section.word_marks,
            append_eos=causal,
        )
        self._path = Path(path)
        self._name([self._path], folder, tokenizer, reading, encoding)

    def _name(
        self,
        inputs: Sequence[Path],
        folder: Path,
        tokenizer: PretrainedTokenizer,
        reading: ReadingOptions,
        encoding: EncodingOptions,
    ) -> None:
        """Take over how these files and folders are made into a corpus, and name it."""
        self._tokenizer, self._reading, self._encoding = tokenizer, reading, encoding
        files, _ = find_files(inputs)
        stats = [file.stat() for file in files]
        self._bytes = sum(stat.st_size for stat in stats)
        name = sha256_json(
            [
                [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in zip(files, stats, strict=True)],
                [asdict(reading), asdict(encoding), tokenizer_digest(tokenizer)],
            ]
        )
        self.prefix = str(folder / f"{inputs[0].name.split('.')[0]}-{name[:12]}")

    def build(self) -> None:
        """Build the corpus, or go on with building it, unless it is there."""
        if Path(self.prefix + REPORT).is_file():
            return
        processes = 1 if self._bytes < _SMALL else owned_cores()
        build_corpus(
            [self._path],
            self.prefix,
            self._tokenizer,
            self._reading,
            self._encoding,
            processes=processes,
            resume=True,
        )


class RawPairs(RawText):
    """Texts with their translations, and the parallel corpus that they become.

    Args:
        name: a file with a tab between text and translation, a folder of such, or two files of single texts: ``a|b``.
        folder, tokenizer, section: see `RawText`.
    """

    def __init__(self, name: str, folder: Path, tokenizer: PretrainedTokenizer, section: PretrainSection) -> None:
        self._inputs = [Path(each) for each in name.split("|", 1)]
        reading = ReadingOptions("tsv", encoding=section.raw_text.encoding)
        self._name(self._inputs, folder, tokenizer, reading, EncodingOptions())
        aligned = len(self._inputs) == 2
        self._path = Path(f"{self.prefix}.tsv") if aligned else self._inputs[0]

    def build(self) -> None:
        """As in `RawText`, after the lines of two files are put side by side.

        Raises:
            DataError: the files have different numbers of lines (`not-aligned`).
        """
        if len(self._inputs) == 2 and not self._path.is_file():
            join_lines(self._inputs[0], self._inputs[1], self._path)
        super().build()


def join_lines(first: Path, second: Path, target: Path) -> None:
    """Write the lines of two files side by side, with a tab between them; tabs inside of them become spaces.

    Raises:
        DataError: a file is missing, or they have different numbers of lines (`not-aligned`).
    """
    with atomic_file(target) as partial, partial.open("wb") as handle:
        for number, pair in enumerate(zip_longest(byte_lines(first), byte_lines(second)), 1):
            if None in pair:
                raise DataError(
                    "not-aligned",
                    "the file ends here, but {other} goes on",
                    at=Location.of(first if pair[0] is None else second, number),
                    fix="line n of one file is to be the translation of line n of the other",
                    other=second if pair[0] is None else first,
                )
            handle.write(b"\t".join(line.rstrip(b"\r\n").replace(b"\t", b" ") for line in pair) + b"\n")


def is_source(name: str) -> bool:
    """Whether a name is that of files that become a corpus, and not of a corpus."""
    return is_text(Path(name)) or "|" in name


def find_raw_text(
    blend: Sequence[tuple[str, float | None]],
    folder: Path,
    tokenizer: PretrainedTokenizer,
    section: PretrainSection,
    make: Callable[[str, Path, PretrainedTokenizer, PretrainSection], Source] = RawText,
) -> tuple[list[tuple[str, float | None]], list[Source]]:
    """The entries of a blend with the corpora in the place of raw text, and what has to be built for that.

    Args:
        blend: see `zoo_cli.data.corpus.blend.parse_blend`.
        folder: where corpora are put.
        tokenizer: makes tokens.
        section: how text is read and encoded.
        make: what becomes of files that are no corpus.

    Raises:
        DataError: an entry is neither a corpus nor text.
        UsageError: options do not go together.
    """
    corpora: list[tuple[str, float | None]] = []
    texts: list[Source] = []
    for name, weight in blend:
        if is_source(name):
            texts.append(make(name, folder, tokenizer, section))
            name = texts[-1].prefix
        else:
            open_corpus(name)
        corpora.append((name, weight))
    return corpora, texts
