"""`zoo data`: fetch labelled data, look at it, check it, mend it, convert and split it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo_cli.cli import augment, corpus
from zoo_cli.cli.completion import complete_datasets
from zoo_cli.cli.formats import Format, FormatOptions, format_options
from zoo_cli.cli.help import Group
from zoo_cli.cli.options import Json, Offline, OptionalRecipe, Overrides, Tiny

if TYPE_CHECKING:
    from zoo_cli.data.conversion import ConversionOptions
    from zoo_cli.recipe.loading import LoadedRecipe

app = typer.Typer(
    cls=Group,
    help="Fetch labelled data, look at it, check, convert and split it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(corpus.app, name="corpus")
app.command("augment")(augment.augment)
app.command("vectors")(augment.vectors)

File = Annotated[Path, typer.Argument(help="Data file; .gz is unpacked.")]


def _parts(loaded: LoadedRecipe) -> dict[str, Path]:
    from zoo_cli.base.resources import locate

    section = loaded.recipe.data
    named = (("train", section.train), ("dev", section.dev), ("test", section.test))
    return {
        part if number == 0 else f"{part}-{number + 1}": locate(name)
        for part, files in named
        for number, name in enumerate(files)
    }


def _conversion(loaded: LoadedRecipe) -> ConversionOptions | None:
    from zoo_cli.tasks.extraction.spec import ExtractionOptions

    return loaded.task.conversion() if isinstance(loaded.task, ExtractionOptions) else None


@app.command("list")
def list_datasets(as_json: Json = False) -> None:
    """List the public data sets that `zoo data fetch` knows.

    zoo data list
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.data.datasets import dataset_names, load_dataset

    rows = [
        {"name": name, "description": load_dataset(name).description, "source": load_dataset(name).source}
        for name in dataset_names()
    ]
    if as_json:
        emit_json(rows)
    else:
        show_table(["name", "description", "source"], [list(row.values()) for row in rows])


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of data sets.", autocompletion=complete_datasets)],
    output: Annotated[Path, typer.Option("--output-dir", help="Each gets a folder of its name in it.")] = Path("data"),
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Download public data sets to where the shipped recipes look for them: data/NAME/ in the working directory.

    zoo data fetch tnews && zoo finetune --recipe ernie-3.0/tnews.yaml
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.progress import download_progress, go_offline
    from zoo_cli.data.datasets import fetch as fetch_dataset
    from zoo_cli.data.datasets import load_dataset

    if offline:
        go_offline()
    for name in names:  # a wrong name is refused before anything is downloaded
        load_dataset(name)
    written = {}
    for name in names:
        with download_progress() as progress:
            written[name] = [str(path) for path in fetch_dataset(name, output / name, progress)]
        say("{name}: {count} files in {folder}", name=name, count=len(written[name]), folder=output / name)
        say("the terms of those who made it hold: {source}", source=load_dataset(name).source)
    if as_json:
        emit_json(written)


@app.command()
def check(
    overrides: Overrides = None,
    recipe: OptionalRecipe = None,
    fix: Annotated[Path | None, typer.Option("--fix", help="Write corrected copies into this folder.")] = None,
    tiny: Tiny = False,
    as_json: Json = False,
) -> None:
    """Check the data of a recipe: offsets, duplicates, leakage, lengths, labels, prompts. Exit code 3 for errors.

    zoo data check --recipe my.yaml

    zoo data check --recipe uie/custom.yaml data.train=export.jsonl --fix fixed/
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.base.errors import DataError, UsageError
    from zoo_cli.cli.jobs import load_job
    from zoo_cli.data.checks import check_files
    from zoo_cli.data.repair import fix_file

    if recipe is None:
        raise UsageError("no-recipe", "nothing says where the data is", fix="name a recipe with --recipe")
    loaded = load_job(recipe, overrides, tiny)
    section = loaded.recipe.data
    parts = _parts(loaded)
    if section.format is None or not parts:
        raise DataError("no-data", "the recipe names no data files", fix="set data.train and data.format")
    length = getattr(loaded.task, "max_length", None)
    if fix is not None:
        for name, path in parts.items():
            result = fix_file(path, section.format, fix / path.name.removesuffix(".gz"), section.options)
            fixed = sum(result.fixed.values())
            say(
                "{part}: {fixed} spans corrected, {left} left as they are",
                part=name,
                fixed=fixed,
                left=len(result.unfixed),
            )
            parts[name] = fix / path.name.removesuffix(".gz")
    report = check_files(
        parts,
        section.format,
        section.options,
        labels=section.labels,
        conversion=_conversion(loaded),
        max_length=length,
    )
    if as_json:
        emit_json(report.as_dict())
    else:
        for table in report.tables():
            show_table(table.columns, table.rows, title=table.title)
    if report.errors:
        count = sum(finding.count for finding in report.errors)
        hint = "`--fix FOLDER` corrects offsets" if fix is None else "what is left has to be corrected by hand"
        raise DataError("data-errors", "{count} errors in the data", fix=hint, count=count)


@app.command()
def convert(
    source: File,
    output: Annotated[Path, typer.Argument(help="File to write, or with --split a folder.")],
    format_name: Format,
    to: Annotated[str, typer.Option("--to", help="prompt (PaddleNLP's lines) or doccano.")] = "prompt",
    split: Annotated[
        str | None, typer.Option("--split", help="Sizes of train, dev and test, e.g. 0.8,0.1,0.1.")
    ] = None,
    option: FormatOptions = None,
    negative_ratio: Annotated[
        int, typer.Option("--negative-ratio", help="Prompts without answer for each with one; -1: all.")
    ] = 5,
    separator: Annotated[str, typer.Option("--separator", help="Parts an entity's label from its class.")] = "##",
    prompt_prefix: Annotated[str, typer.Option("--prompt-prefix", help="Name of the classification.")] = "情感倾向",
    options: Annotated[
        str, typer.Option("--options", help="Classes of the classification, with commas.")
    ] = "正向,负向",
    schema_lang: Annotated[str, typer.Option("--schema-lang", help="zh or en.")] = "zh",
    task_type: Annotated[
        str, typer.Option("--task-type", help="ext (extraction) or cls (class of each text).")
    ] = "ext",
    shuffle: Annotated[bool, typer.Option("--shuffle/--no-shuffle", help="Random order and division.")] = True,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random order.", min=0)] = 1000,
    as_json: Json = False,
) -> None:
    """Convert annotations to prompts as PaddleNLP's doccano.py and label_studio.py do, or to doccano's form.

    zoo data convert doccano_ext.jsonl data/ --format doccano --split 0.8,0.1,0.1
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.base.errors import UsageError
    from zoo_cli.data.conversion import ConversionOptions
    from zoo_cli.data.convert import convert_file

    if to not in ("prompt", "doccano"):
        raise UsageError("bad-option", "--to is prompt or doccano, not {value!r}", value=to)
    rules = ConversionOptions(
        negative_ratio=negative_ratio,
        options=tuple(name for name in options.split(",") if name),
        prompt_prefix=prompt_prefix,
        separator=separator,
        schema_lang="zh" if schema_lang == "ch" else schema_lang,  # type: ignore[arg-type]  # the class checks it
        task_type=task_type,  # type: ignore[arg-type]
        seed=seed,
    )
    splits = None if split is None else _sizes(split)
    written = convert_file(
        source,
        format_name,
        output,
        to=to,  # type: ignore[arg-type]
        splits=splits,
        conversion=rules,
        shuffle=shuffle,
        options=format_options(format_name, option),
    )
    if as_json:
        emit_json(written)
    else:
        for name, count in written.items():
            say("{name}: {count} lines", name=name, count=count)


def _sizes(text: str) -> dict[str, int | float]:
    from zoo_cli.base.errors import UsageError
    from zoo_cli.recipe.yaml12 import scalar

    sizes = [scalar(part.strip()) for part in text.replace(" ", ",").split(",") if part.strip()]
    if not 2 <= len(sizes) <= 3 or any(isinstance(size, bool) or not isinstance(size, int | float) for size in sizes):
        raise UsageError("bad-split", "{text!r} are not two or three sizes", fix="for example 0.8,0.1,0.1", text=text)
    return dict(zip(("train", "dev", "test"), sizes, strict=False))


@app.command()
def split(
    source: File,
    output: Annotated[Path, typer.Argument(help="Folder for the parts.")],
    format_name: Format,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Sizes of train, dev and test: shares or rows.")
    ] = "0.8,0.1,0.1",
    stratify: Annotated[bool, typer.Option("--stratify", help="Each part gets its share of every class.")] = False,
    option: FormatOptions = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random order.", min=0)] = 1000,
    as_json: Json = False,
) -> None:
    """Cut a file into train, dev and test parts of the same format; every row is in exactly one.

    zoo data split reviews.tsv data/ --format tsv --sizes 0.9,0.1 --stratify
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.data.splits import split_file

    options = format_options(format_name, option)
    rows = split_file(source, format_name, output, _sizes(sizes), seed=seed, stratify=stratify, options=options)
    if as_json:
        emit_json(rows)
    else:
        for name, count in rows.items():
            say("{name}: {count} rows", name=name, count=count)


@app.command()
def preview(
    overrides: Overrides = None,
    recipe: OptionalRecipe = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Examples of each file.", min=1)] = 3,
    tiny: Tiny = False,
) -> None:
    """Show the first examples of a recipe's files as they are understood, with the prompts that they become.

    zoo data preview --recipe uie/custom.yaml data.train=export.jsonl
    """
    from zoo_cli.base.console import emit_json
    from zoo_cli.base.errors import DataError, UsageError
    from zoo_cli.cli.jobs import load_job
    from zoo_cli.data.convert import preview as preview_file

    if recipe is None:
        raise UsageError("no-recipe", "nothing says where the data is", fix="name a recipe with --recipe")
    loaded = load_job(recipe, overrides, tiny)
    section = loaded.recipe.data
    if section.format is None:
        raise DataError("no-data", "the recipe names no data files", fix="set data.train and data.format")
    for path in _parts(loaded).values():
        rows = preview_file(
            path,
            section.format,
            section.options,
            labels=section.labels,
            count=count,
            conversion=_conversion(loaded),
        )
        for row in rows:
            emit_json(row)
