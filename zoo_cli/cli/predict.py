"""`zoo predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_cli.cli import options


def predict(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.From = None,
    input_file: options.Input = None,
    output: options.Output = "-",
    schema: Annotated[
        str | None, typer.Option("--schema", help="Extraction: what to look for, as JSON or a single name.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="One text instead of a file.")] = None,
    backend: Annotated[str, typer.Option("--backend", help="For a bundle: onnx or paddle.")] = "onnx",
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", help="Padded tokens in one batch at most.", min=1)
    ] = 1024,
    tiny: options.Tiny = False,
    device: options.Device = "cpu",
) -> None:
    """Answer texts, one a line (or one JSON object a line), with a fine-tuned model or a bundle.

    zoo predict --recipe uie/msra.yaml --input texts.txt --output answers.jsonl

    echo '王芳在北京大学工作。' | zoo predict --from runs/uie/msra/finetune --schema '["人物", "组织机构"]' --input -
    """
    from zoo_cli.cli.jobs import open_pipeline, recipe_of, source_of
    from zoo_cli.cli.lines import parse_schema_option, read_requests, write_answers

    parameters = {} if schema is None else {"schema": parse_schema_option(schema)}
    loaded = None if source is not None and recipe is None else recipe_of(recipe, source, overrides, tiny)
    folder = source_of(loaded, source)
    pipeline = open_pipeline(folder, backend, batch_tokens, device)
    write_answers(pipeline, read_requests(input_file, text), parameters, output)
