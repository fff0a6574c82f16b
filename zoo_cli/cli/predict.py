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
    shard: Annotated[
        str | None, typer.Option("--shard", help="Answer one part of the file, e.g. 2/8; outputs joined are the whole.")
    ] = None,
    server: Annotated[str | None, typer.Option("--server", help="Ask a running `zoo serve` at this URL.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="With --server: name of the model.")] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="With --server: its key.", envvar="ZOO_API_KEY", show_default=False)
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="With --server: requests at the same time.", min=1)
    ] = 16,
    tiny: options.Tiny = False,
    device: options.Device = "cpu",
) -> None:
    """Answer texts, one a line (or one JSON object a line), with a fine-tuned model, a bundle, or a server.

    zoo predict --recipe uie/msra.yaml --input texts.txt --output answers.jsonl

    echo '王芳在北京大学工作。' | zoo predict --from runs/uie/msra/finetune --schema '["人物", "组织机构"]' --input -

    zoo predict --server http://127.0.0.1:8000 --input texts.txt --shard 2/8 --output answers.2.jsonl
    """
    from zoo_cli.base.errors import UsageError
    from zoo_cli.cli.jobs import open_pipeline, recipe_of, source_of
    from zoo_cli.cli.lines import Shard, parse_schema_option, read_requests, write_answers

    parameters = {} if schema is None else {"schema": parse_schema_option(schema)}
    requests = read_requests(input_file, text, None if shard is None else Shard.parse(shard))
    if server is not None:
        from zoo_cli.runtime.client import RemoteModel

        if recipe is not None or source is not None or overrides or tiny:
            raise UsageError("bad-option", "--server has its own model", fix="leave out --recipe, --from and --tiny")
        write_answers(RemoteModel(server, model, api_key, concurrency), requests, parameters, output)
        return
    loaded = None if source is not None and recipe is None else recipe_of(recipe, source, overrides, tiny)
    folder = source_of(loaded, source)
    write_answers(open_pipeline(folder, backend, batch_tokens, device), requests, parameters, output)
