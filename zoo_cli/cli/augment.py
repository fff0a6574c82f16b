"""`zoo data augment` and `zoo data vectors`: more texts out of labelled ones, and vectors of their words."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli.cli.formats import Format, FormatOptions, OptionalFormat, format_options
from zoo_cli.cli.options import Device, Json, Offline, OptionalRecipe, Tiny

if TYPE_CHECKING:
    from zoo_cli.data.augment.copies import MaskedWords
    from zoo_cli.data.augment.job import Sources
    from zoo_cli.recipe.loading import LoadedRecipe
    from zoo_cli.recipe.schema import AugmentationSection


def augment(
    source: Annotated[Path | None, typer.Argument(help="Labelled file; .gz is unpacked.", show_default=False)] = None,
    output: Annotated[Path | None, typer.Argument(help="File to write.", show_default=False)] = None,
    recipe: OptionalRecipe = None,
    format_name: OptionalFormat = None,
    option: FormatOptions = None,
    masked_lm: Annotated[
        str | None, typer.Option("--masked-lm", help="Checkpoint or model folder that proposes words of one token.")
    ] = None,
    vectors: Annotated[
        str | None, typer.Option("--vectors", help="File of word vectors, for words of more tokens.")
    ] = None,
    copies: Annotated[int | None, typer.Option("--copies", help="Most copies of each text (20).", min=1)] = None,
    candidates: Annotated[
        int | None, typer.Option("--candidates", help="Most words that may stand for another (15).", min=1)
    ] = None,
    probability: Annotated[
        float | None, typer.Option("--probability", help="Of a word to be replaced in a copy (0.4).", min=0, max=1)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random choices.", min=0)] = 1000,
    device: Device = "cpu",
    nproc: Annotated[
        int | None, typer.Option("--nproc", help="Processes; by default one for each core.", min=1)
    ] = None,
    tiny: Tiny = False,
    offline: Offline = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished file.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file or an unfinished one.")] = False,
    as_json: Json = False,
) -> None:
    """Copy labelled rows with other words in them, as for TinyBERT. Each row is written before its copies; spans keep
    to their characters, and no word that a span lies on is replaced.

    zoo data augment train.tsv train_aug.tsv --format tsv --option columns.text=sentence --masked-lm bert-base-uncased

    zoo data augment --recipe tinybert/sst2.yaml --vectors glove.6B.300d.txt
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.base.environment import owned_cores
    from zoo_cli.base.errors import UsageError
    from zoo_cli.base.resources import locate
    from zoo_cli.cli.jobs import load_job
    from zoo_cli.cli.progress import go_offline
    from zoo_cli.data.augment.copies import CopyOptions
    from zoo_cli.data.augment.job import augment_file
    from zoo_cli.data.augment.recipe import augmented_files
    from zoo_cli.recipe.schema import AugmentationSection

    if offline:
        go_offline()
    section = AugmentationSection()
    if recipe is not None:
        if source is not None or format_name is not None:
            raise UsageError(
                "two-sources", "the recipe says which files are read", fix="leave the file or --recipe out"
            )
        loaded = load_job(recipe, None, tiny)
        section = loaded.recipe.distill.augmentation if loaded.recipe.distill else section
        format_name, options = loaded.recipe.data.format, loaded.recipe.data.options
        files = {locate(name): place for name, place in augmented_files(loaded).items()}
    else:
        files = {source: output} if source is not None and output is not None else {}
        options = format_options(format_name, option) if format_name else {}
    if not files or format_name is None:
        raise UsageError(
            "no-recipe", "nothing says what to read", fix="name two files and --format, or a recipe with training files"
        )
    given: dict[str, Any] = {"masked_lm": masked_lm, "vectors": vectors, "copies": copies}
    given |= {"candidates": candidates, "probability": probability}
    section = section.model_copy(update={key: value for key, value in given.items() if value is not None})
    sources = _sources(section, device)
    chosen = CopyOptions(section.copies, section.candidates, section.probability, seed)
    written = []
    for file, place in files.items():
        report = augment_file(
            file,
            place,
            format_name,
            options,
            sources,
            chosen,
            processes=nproc or owned_cores(),
            resume=resume,
            force=force,
        )
        written.append(report)
        say("{file}: {rows:,} rows and {copies:,} copies, {format}", **report)
    if as_json:
        emit_json(written)


def augment_tiny(loaded: LoadedRecipe) -> None:
    """Make the augmented training set that a tiny recipe learns from, unless it is there."""
    from zoo_cli.base.console import say
    from zoo_cli.base.resources import locate
    from zoo_cli.data.augment.copies import CopyOptions
    from zoo_cli.data.augment.job import augment_file
    from zoo_cli.data.augment.recipe import augmented_files

    data, distill = loaded.recipe.data, loaded.recipe.distill
    if distill is None or not distill.augmented or data.format is None:
        return
    section = distill.augmentation
    chosen = CopyOptions(section.copies, section.candidates, section.probability)
    for name, place in augmented_files(loaded).items():
        if not place.is_file():
            say("{folder}: nothing there yet, so `zoo {verb}` is run first", folder=place, verb="data augment")
            sources = _sources(section, "cpu")
            augment_file(locate(name), place, data.format, data.options, sources, chosen, resume=True)


def _sources(section: AugmentationSection, device: str) -> Sources:
    from zoo_cli.base.files import sha256_file, sha256_json
    from zoo_cli.base.resources import locate
    from zoo_cli.cli.progress import download_progress
    from zoo_cli.data.augment.job import Sources
    from zoo_cli.recipe.loading import preset_name
    from zoo_cli.recipe.presets import fetch

    vectors = None if section.vectors is None else locate(section.vectors)
    if section.masked_lm is None:
        return Sources(None, "", vectors)
    folder = Path(section.masked_lm)
    if preset_name(section.masked_lm):
        with download_progress() as bar:
            folder = fetch(section.masked_lm, bar)
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    identity = sha256_json([[path.name, sha256_file(path)] for path in files])
    return Sources(partial(open_masked_words, folder, device), identity, vectors)


def open_masked_words(folder: Path, device: str) -> MaskedWords:
    """The masked language model of a folder, in the process that calls this.

    Args:
        folder: model folder.
        device: what it computes on.
    """
    from zoo_cli.engine.device import use_device

    use_device(device)
    from zoo_cli.distill.masked_words import MaskedWords

    return MaskedWords(folder)


def vectors(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Texts, labelled or not.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    format_name: Format = "documents",
    option: FormatOptions = None,
    size: Annotated[int, typer.Option("--size", help="Numbers of a vector.", min=2)] = 100,
    window: Annotated[int, typer.Option("--window", help="Words to either side that are context.", min=1)] = 5,
    min_count: Annotated[int, typer.Option("--min-count", help="Leave rarer words out.", min=1)] = 5,
    words: Annotated[int, typer.Option("--words", help="Most words.", min=3)] = 50_000,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: Json = False,
) -> None:
    """Make word vectors out of texts, in word2vec's text format, for `zoo data augment`.

    zoo data vectors texts/*.txt --output vectors.txt

    zoo data vectors train.tsv --output vectors.txt --format tsv --option columns.text=sentence
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.base.errors import Location, UsageError
    from zoo_cli.data.augment.rows import plain_texts
    from zoo_cli.data.augment.vectors import train_vectors

    if output.exists() and not force:
        raise UsageError(
            "output-exists", "the file is there already", at=Location.of(output), fix="replace it with --force"
        )
    options = format_options(format_name, option)
    found = train_vectors(plain_texts(files, format_name, options), size, window, min_count, words)
    found.save(output)
    report: dict[str, Any] = {
        "file": str(output),
        "words": len(found.words),
        "dimensions": int(found.vectors.shape[1]),
    }
    if as_json:
        emit_json(report)
    else:
        say("{file}: {words:,} words of {dimensions} numbers", **report)
