"""`zoo generate`."""

from __future__ import annotations

from typing import IO, Annotated, Any

import typer

from zoo_cli.cli import decoding, options


def generate(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.FromOrName = None,
    input_file: options.Input = None,
    output: options.Output = "-",
    text: Annotated[str | None, typer.Option("--text", help="One text instead of a file.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show each text while it is written.")] = False,
    decode_strategy: decoding.Strategy = None,
    max_new_tokens: decoding.MaxNewTokens = None,
    min_new_tokens: decoding.MinNewTokens = None,
    temperature: decoding.Temperature = None,
    top_k: decoding.TopK = None,
    top_p: decoding.TopP = None,
    repetition_penalty: decoding.RepetitionPenalty = None,
    no_repeat_ngram_size: decoding.NoRepeat = None,
    num_beams: decoding.Beams = None,
    num_beam_groups: decoding.BeamGroups = None,
    diversity_rate: decoding.Diversity = None,
    length_penalty: decoding.LengthPenalty = None,
    early_stopping: decoding.EarlyStopping = None,
    num_return_sequences: decoding.Returned = None,
    seed: decoding.DecodingSeed = None,
    tiny: options.Tiny = False,
    offline: options.Offline = False,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Write texts for texts: summaries, titles, questions, replies, continuations.

    Inputs are lines of text, or JSON objects with the task's fields. Each text is written on lines of its own; with
    --json each answer is one line of JSON, and with --stream as well each piece of it.

    zoo generate --from runs/unimo-text/lcsts/finetune --input texts.txt --num-beams 6

    zoo generate --from gpt-cpm-small-cn-distill --text '从前有座山，' --top-p 0.9

    echo '从前有座山，' | zoo generate --from runs/gpt/poetry/finetune --input - --stream --top-p 0.9
    """
    from zoo_cli.base.errors import UsageError
    from zoo_cli.cli.jobs import recipe_of, source_of
    from zoo_cli.cli.lines import read_requests, write_answers
    from zoo_cli.cli.progress import go_offline

    changes = decoding.decoding_changes(
        decode_strategy=decode_strategy,
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        num_beams=num_beams,
        num_beam_groups=num_beam_groups,
        diversity_rate=diversity_rate,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        num_return_sequences=num_return_sequences,
        seed=seed,
    )
    if stream and (output != "-" or (num_return_sequences or 1) > 1):
        raise UsageError(
            "bad-option",
            "--stream writes one text for each input to standard output",
            fix="leave --output and --num-return-sequences out",
        )
    if offline:
        go_offline()
    source = decoding.find_source(source)
    loaded = None if source is not None and recipe is None else recipe_of(recipe, source, overrides, tiny)
    pipeline = decoding.open_generator(source_of(loaded, source), device)
    requests = read_requests(input_file, text)
    parameters: dict[str, Any] = {"decoding": changes} if changes else {}
    if stream:
        _stream(pipeline, requests, {"decoding": {**changes, "num_return_sequences": 1}}, as_json)
    elif as_json:
        write_answers(pipeline, requests, parameters, output)
    else:
        write_answers(pipeline, requests, parameters, output, _write_texts)


def _write_texts(answer: dict[str, Any], stream: IO[str]) -> None:
    for each in answer.get("texts") or [answer]:
        print(each["text"], file=stream, flush=True)


def _stream(pipeline: Any, requests: Any, parameters: dict[str, Any], as_json: bool) -> None:
    """Answer one input after another, each piece as soon as it is there."""
    from zoo_cli.base.console import emit_json
    from zoo_cli.base.errors import ZooError
    from zoo_cli.runtime.generation import AnswerStream
    from zoo_cli.runtime.pipeline import with_parameters

    for index, (place, value) in enumerate(requests):
        try:
            stream = AnswerStream(pipeline, with_parameters(value, parameters))
            for piece in stream:
                if as_json:
                    emit_json({"index": index, "piece": piece})
                else:
                    print(piece, end="", flush=True)
        except ZooError as error:
            error.at = error.at or place
            raise
        if as_json:
            emit_json({"index": index, **stream.answer})
        else:
            print(flush=True)
