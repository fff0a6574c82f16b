"""Raw text among the corpora of a recipe, made into corpora of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from zoo_cli.base.environment import owned_cores
from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import sha256_json
from zoo_cli.data.corpus.builder import build_corpus, tokenizer_digest
from zoo_cli.data.corpus.encoding import EncodingOptions
from zoo_cli.data.corpus.format import REPORT, is_text, open_corpus
from zoo_cli.data.corpus.reading import ReadingOptions, find_files
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

_SMALL = 8 << 20  # bytes that one process reads before others would have started


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

    def __init__(self, path: Path, folder: Path, tokenizer: Tokenizer, section: PretrainSection) -> None:
        if not isinstance(tokenizer, PretrainedTokenizer):
            raise UsageError("no-corpus", "{kind} makes no corpora", kind=type(tokenizer).__name__)
        options = section.raw_text
        self._path, self._tokenizer = path, tokenizer
        self._reading = ReadingOptions(options.format, options.documents, options.json_key, options.encoding)
        causal = section.objective == "causal"
        self._encoding = EncodingOptions(
            sentences="none" if causal else options.sentences,
            segmenter=options.segmenter,
            word_marks=section.word_marks,
            append_eos=causal,
        )
        files, _ = find_files([path])
        stats = [file.stat() for file in files]
        self._bytes = sum(stat.st_size for stat in stats)
        name = sha256_json(
            [
                [[str(file), stat.st_size, stat.st_mtime_ns] for file, stat in zip(files, stats, strict=True)],
                [asdict(self._reading), asdict(self._encoding), tokenizer_digest(tokenizer)],
            ]
        )
        self.prefix = str(folder / f"{path.name.split('.')[0]}-{name[:12]}")

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


def find_raw_text(
    blend: Sequence[tuple[str, float | None]], folder: Path, tokenizer: Tokenizer, section: PretrainSection
) -> tuple[list[tuple[str, float | None]], list[RawText]]:
    """The entries of a blend with the corpora in the place of raw text, and what has to be built for that.

    Args:
        blend: see `zoo_cli.data.corpus.blend.parse_blend`.
        folder: where corpora are put.
        tokenizer: makes tokens.
        section: how text is read and encoded.

    Raises:
        DataError: an entry is neither a corpus nor text.
        UsageError: options do not go together.
    """
    corpora: list[tuple[str, float | None]] = []
    texts: list[RawText] = []
    for name, weight in blend:
        path = Path(name)
        if is_text(path):
            texts.append(RawText(path, folder, tokenizer, section))
            name = texts[-1].prefix
        else:
            open_corpus(name)
        corpora.append((name, weight))
    return corpora, texts
