"""`zoo data corpus`: make, join and look at corpora for pretraining, and train vocabularies for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from zoo_cli.cli.help import Group
from zoo_cli.cli.options import Force, Json, Resume

if TYPE_CHECKING:
    from zoo_cli.data.corpus.reading import ReadingOptions
    from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

app = typer.Typer(cls=Group, help="Corpora for pretraining.", no_args_is_help=True, rich_markup_mode=None)

Inputs = Annotated[
    list[Path], typer.Argument(metavar="INPUT...", help="Text files, JSON lines files and folders of them.")
]
Prefix = Annotated[str, typer.Argument(help="Path of the corpus without _ids.npy and _idx.npz.")]
TokenizerName = Annotated[
    str, typer.Option("--tokenizer", "-t", help="Model folder, vocabulary file, or name of a published checkpoint.")
]
TokenizerClass = Annotated[
    str | None, typer.Option("--tokenizer-class", help="For folders that do not say it, e.g. ErnieTokenizer.")
]
Format = Annotated[str, typer.Option("--format", help="text, jsonl, tsv (translated pairs), or auto: by the name.")]
Documents = Annotated[
    str, typer.Option("--documents", help="What ends a document of a text file: blank-line, or line for each line.")
]
JsonKey = Annotated[str, typer.Option("--json-key", help="Key of the text in JSON lines.")]
Encoding = Annotated[str, typer.Option("--encoding", help="Encoding of the files, e.g. gb18030.")]
LineBytes = Annotated[int, typer.Option("--max-line-bytes", help="Longer lines are left out and counted.", min=1)]


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    from zoo_cli.base.errors import UsageError

    if value not in known:
        raise UsageError(
            "bad-option", "{name} is {known}, not {value!r}", name=name, known=" or ".join(known), value=value
        )
    return value


def _reading(format_name: str, documents: str, json_key: str, encoding: str, line_bytes: int) -> ReadingOptions:
    from zoo_cli.data.corpus.reading import Documents, Format, ReadingOptions

    return ReadingOptions(
        format=cast(Format, _choice("--format", format_name, ("auto", "text", "jsonl", "tsv"))),
        documents=cast(Documents, _choice("--documents", documents, ("blank-line", "line"))),
        json_key=json_key,
        encoding=encoding,
        line_bytes=line_bytes,
    )


def _tokenizer(name: str, class_name: str | None) -> PretrainedTokenizer:
    from zoo_cli import tokenizers
    from zoo_cli.base.resources import locate
    from zoo_cli.cli.progress import download_progress
    from zoo_cli.recipe.presets import fetch_tokenizer

    path = locate(name)
    if not path.exists() and "/" not in name:
        with download_progress() as bar:
            path = fetch_tokenizer(name, bar)
    return tokenizers.load(path, class_name=class_name)


def _shard(text: str) -> tuple[int, int]:
    from zoo_cli.base.errors import UsageError

    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise UsageError("bad-shard", "{text!r} is not a shard", fix="write I/N, e.g. 0/4 to 3/4", text=text)
    return int(number), int(of)


def _tell(report: dict[str, Any], prefix: str, as_json: bool) -> None:
    """Say what was built and what was wrong with the text."""
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.data.corpus.reading import FAULTS

    if as_json:
        emit_json(report)
        return
    say(
        "{prefix}: {documents} documents, {sentences} sentences, {tokens} tokens, {share:.2%} of them unknown",
        prefix=prefix,
        share=report["unknown_tokens"] / max(1, report["tokens"]),
        **{name: f"{report[name]:,}" for name in ("documents", "sentences", "tokens")},
    )
    values = {
        "encoding": report["reading"]["encoding"],
        "line_bytes": report["reading"]["line_bytes"],
        "key": report["reading"]["json_key"],
        "sentence_tokens": report["encoding"]["sentence_tokens"],
    }
    for kind, fault in report["faults"].items():
        say("  " + FAULTS[kind], count=f"{fault['count']:,}", **values)
        if fault["at"]:
            say("    first at: {places}", places=", ".join(fault["at"]))
    if report["ignored_files"]:
        say("  {count} files of other kinds were left out", count=report["ignored_files"])


@app.command()
def build(
    inputs: Inputs,
    output: Annotated[str, typer.Option("--output", "-o", help="Path of the corpus without endings.")],
    tokenizer: TokenizerName,
    tokenizer_class: TokenizerClass = None,
    format_name: Format = "auto",
    documents: Documents = "blank-line",
    json_key: JsonKey = "text",
    encoding: Encoding = "utf-8",
    sentences: Annotated[
        str, typer.Option("--sentences", help="How documents are split: auto (by punctuation), lines, or none (GPT).")
    ] = "auto",
    segmenter: Annotated[
        str | None,
        typer.Option(
            "--segmenter",
            help="Mark whole words: jieba, separated (words have spaces between them), or package.module:function.",
        ),
    ] = None,
    word_marks: Annotated[
        str, typer.Option("--word-marks", help="Ids of the marks: ernie, or health (ERNIE-Health).")
    ] = "ernie",
    append_eos: Annotated[
        bool, typer.Option("--append-eos", help="End each document with the end token (GPT).")
    ] = False,
    sentence_tokens: Annotated[
        int, typer.Option("--max-sentence-tokens", help="Cut longer sentences; 0 cuts none.", min=0)
    ] = 512,
    line_bytes: LineBytes = 1 << 24,
    nproc: Annotated[
        int | None, typer.Option("--nproc", help="Processes; by default one for each core.", min=1)
    ] = None,
    shard: Annotated[str, typer.Option("--shard", help="Build part I of N, counted from 0: I/N.")] = "0/1",
    resume: Resume = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a corpus or an unfinished build.")] = False,
    as_json: Json = False,
) -> None:
    """Tokenize text into a corpus: PREFIX_ids.npy and PREFIX_idx.npz, as PaddleNLP's, and a report PREFIX_corpus.json.

    zoo data corpus build texts/ -o corpora/wiki -t ernie-3.0-base-zh --segmenter jieba

    zoo data corpus build texts/ -o corpora/web -t gpt2-en --sentences none --append-eos --documents line
    """
    from zoo_cli.base.environment import owned_cores
    from zoo_cli.data.corpus.builder import build_corpus
    from zoo_cli.data.corpus.encoding import EncodingOptions, Sentences
    from zoo_cli.data.corpus.marks import Layout

    options = EncodingOptions(
        sentences=cast(Sentences, _choice("--sentences", sentences, ("auto", "lines", "none"))),
        segmenter=segmenter,
        word_marks=cast(Layout, _choice("--word-marks", word_marks, ("ernie", "health"))),
        append_eos=append_eos,
        sentence_tokens=sentence_tokens or None,
    )
    report = build_corpus(
        inputs,
        output,
        _tokenizer(tokenizer, tokenizer_class),
        _reading(format_name, documents, json_key, encoding, line_bytes),
        options,
        processes=nproc or owned_cores(),
        shard=_shard(shard),
        resume=resume,
        force=force,
    )
    _tell(report, output, as_json)


@app.command()
def merge(prefix: Prefix, force: Force = False, as_json: Json = False) -> None:
    """Join the shards PREFIX-000-of-NNN and so on; the result is that of a build in one go.

    zoo data corpus merge corpora/wiki
    """
    from zoo_cli.data.corpus.merging import merge_shards

    _tell(merge_shards(prefix, force), prefix, as_json)


@app.command()
def stats(
    prefix: Prefix,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", "-t", help="With it all ids are counted: unknown ones, parts of words.")
    ] = None,
    tokenizer_class: TokenizerClass = None,
    word_marks: Annotated[str, typer.Option("--word-marks", help="Ids of the marks: ernie, or health.")] = "ernie",
    as_json: Json = False,
) -> None:
    """Count documents, sentences and tokens of a corpus, PaddleNLP's and Megatron's included.

    zoo data corpus stats corpora/wiki
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.data.corpus.format import open_corpus
    from zoo_cli.data.corpus.marks import Layout, word_forms
    from zoo_cli.data.corpus.statistics import PERCENTILES, corpus_statistics

    corpus = open_corpus(prefix)
    forms = unknown = None
    if tokenizer is not None:
        loaded = _tokenizer(tokenizer, tokenizer_class)
        forms = word_forms(loaded, cast(Layout, _choice("--word-marks", word_marks, ("ernie", "health"))))
        unknown = loaded.unk_token_id
    figures = corpus_statistics(corpus, forms, unknown)
    if as_json:
        emit_json({"prefix": corpus.prefix, **figures.as_dict()})
        return
    shares = [("unknown", figures.unknown), ("continuing a word", figures.continuing)]
    show_table(
        ("", "count"),
        [
            ("documents", f"{figures.documents.count:,}"),
            ("sentences", f"{figures.sentences.count:,}"),
            ("tokens", f"{figures.tokens:,} ({figures.id_type})"),
            *((name, f"{share:.2%}") for name, share in shares if share is not None),
            *([("different ids", f"{figures.distinct:,}")] if figures.distinct is not None else []),
        ],
    )
    show_table(
        ("tokens in a", "mean", *(f"{percent} %" for percent in PERCENTILES), "longest"),
        [
            (name, lengths.mean, *lengths.percentiles.values(), lengths.maximum)
            for name, lengths in (("sentence", figures.sentences), ("document", figures.documents))
        ],
    )


@app.command()
def vocab(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the tokenizer's files.")],
    tokenizer_class: Annotated[
        str,
        typer.Option(
            "--tokenizer-class",
            help="WordPiece: Ernie-, Bert-, ElectraTokenizer; byte-level BPE: GPTTokenizer; "
            "SentencePiece: GPTChinese-, ErnieM-, UnifiedTransformerTokenizer.",
        ),
    ] = "ErnieTokenizer",
    size: Annotated[int, typer.Option("--size", help="Number of tokens.", min=10)] = 40_000,
    cased: Annotated[bool, typer.Option("--cased", help="Keep case and accents (WordPiece).")] = False,
    min_frequency: Annotated[int, typer.Option("--min-frequency", help="Learn no rarer tokens.", min=1)] = 2,
    alphabet: Annotated[
        int | None, typer.Option("--alphabet", help="Most different characters (WordPiece).", min=1)
    ] = None,
    sample: Annotated[int, typer.Option("--sample", help="Lines that SentencePiece learns from.", min=1)] = 2_000_000,
    format_name: Format = "auto",
    json_key: JsonKey = "text",
    encoding: Encoding = "utf-8",
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Train a vocabulary on text.

    zoo data corpus vocab texts/ -o vocab/ --size 40000 --alphabet 21000

    zoo data corpus vocab texts/ -o vocab/ --tokenizer-class GPTTokenizer --size 50257
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.data.corpus.vocabulary import VocabularyOptions, train_vocabulary

    options = VocabularyOptions(tokenizer_class, size, not cased, min_frequency, alphabet, sample, seed)
    report = train_vocabulary(
        inputs, output, _reading(format_name, "line", json_key, encoding, 1 << 24), options, force
    )
    if as_json:
        emit_json(report)
        return
    say("{folder}: {size:,} tokens from {lines:,} lines", folder=output, size=report["size"], lines=report["lines"])
    for kind, count in report["faults"].items():
        say("  {kind}: {count:,} lines left out", kind=kind, count=count)
