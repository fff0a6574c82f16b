"""Decoding options of `zoo generate` and `zoo chat`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli.base.errors import UsageError

if TYPE_CHECKING:
    from zoo_cli.runtime.pipeline import Pipeline
    from zoo_cli.tasks.decoding_options import DecodingSection

Strategy = Annotated[
    str | None, typer.Option("--decode-strategy", help="greedy_search, sampling or beam_search.", show_default=False)
]
MaxNewTokens = Annotated[int | None, typer.Option("--max-new-tokens", help="Most tokens to generate.")]
MinNewTokens = Annotated[int | None, typer.Option("--min-new-tokens", help="Least tokens to generate.")]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Sampling: below 1 is surer.")]
TopK = Annotated[int | None, typer.Option("--top-k", help="Sampling: draw from the K most probable tokens.")]
TopP = Annotated[float | None, typer.Option("--top-p", help="Sampling: draw from tokens that make up P together.")]
RepetitionPenalty = Annotated[
    float | None, typer.Option("--repetition-penalty", help="Above 1, tokens that occurred are less likely.")
]
NoRepeat = Annotated[
    int | None, typer.Option("--no-repeat-ngram-size", help="No sequence of N tokens occurs twice; 0 allows all.")
]
Beams = Annotated[int | None, typer.Option("--num-beams", help="Beam search: continuations kept.")]
BeamGroups = Annotated[int | None, typer.Option("--num-beam-groups", help="Beam search: groups steered apart.")]
Diversity = Annotated[
    float | None, typer.Option("--diversity-rate", help="Beam search: how far beams are steered apart.")
]
LengthPenalty = Annotated[
    float | None, typer.Option("--length-penalty", help="Beam search: above 0 favours long texts.")
]
EarlyStopping = Annotated[
    bool | None, typer.Option("--early-stopping/--no-early-stopping", help="Beam search: stop at the first full set.")
]
Returned = Annotated[int | None, typer.Option("--num-return-sequences", help="Texts for each input.")]
DecodingSeed = Annotated[int | None, typer.Option("--seed", help="Sampling: the same seed gives the same text.", min=0)]


def decoding_changes(**given: Any) -> dict[str, Any]:
    """The decoding options that a user gave; they choose a strategy where the user names none.

    Raises:
        UsageError: an option is wrong, or options of two strategies are given (`bad-option`).
    """
    return _with_strategy({name: value for name, value in given.items() if value is not None})


def _with_strategy(changes: dict[str, Any]) -> dict[str, Any]:
    if "decode_strategy" not in changes:
        sampling = changes.keys() & {"temperature", "top_k", "top_p"}
        beams = changes.keys() & {"num_beams", "num_beam_groups", "diversity_rate", "length_penalty", "early_stopping"}
        if sampling and beams:
            raise UsageError(
                "bad-option",
                "{first} belongs to sampling and {second} to beam search",
                fix="add --decode-strategy",
                first=min(sampling),
                second=min(beams),
            )
        if sampling or beams:
            changes = {**changes, "decode_strategy": "sampling" if sampling else "beam_search"}
    checked(changes)
    return changes


def checked(changes: dict[str, Any]) -> DecodingSection:
    """The changes as decoding options.

    Raises:
        UsageError: one of them is wrong (`bad-option`).
    """
    from pydantic import ValidationError

    from zoo_cli.tasks.decoding_options import DecodingSection

    try:
        return DecodingSection.model_validate(changes)
    except ValidationError as error:
        detail = error.errors()[0]
        raise UsageError(
            "bad-option",
            "decoding option {name}: {reason}",
            fix="the options are {names}",
            name=".".join(map(str, detail["loc"])),
            reason=detail["msg"],
            names=", ".join(DecodingSection.model_fields),
        ) from error


def parse_parameters(settings: Sequence[str]) -> dict[str, Any]:
    """Decoding options from `name=value` pairs.

    Raises:
        UsageError: a pair has no `=`, or an option is wrong (`bad-option`).
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign:
            raise UsageError("bad-option", "{text!r} is not NAME=VALUE", fix="for example top_k=5", text=setting)
        try:
            changes[name] = json.loads(value)
        except json.JSONDecodeError:
            changes[name] = value
    return _with_strategy(changes)


def find_source(source: Path | None) -> Path | None:
    """What `--from` names: a folder as it is, or a published checkpoint of a generating family, downloaded if need be.

    Raises:
        UsageError: there is neither such a folder nor such a checkpoint, but one of nearly that name
            (`unknown-checkpoint`), or the checkpoint does not generate (`no-generation`).
        ArtifactError: the checkpoint cannot be had.
    """
    if source is None or source.exists():
        return source
    import difflib

    from zoo_cli import registry
    from zoo_cli.cli.progress import download_progress
    from zoo_cli.recipe.presets import fetch, load_preset, preset_names

    name = source.as_posix()
    names = preset_names()
    if name not in names and not difflib.get_close_matches(name, names, n=1):
        return source  # said to be no folder by those who look into it
    family = load_preset(name).family
    if not registry.family(family).objectives.keys() & {"causal", "prefix"}:
        raise UsageError(
            "no-generation", "models of {family} do not generate text", fix="use `zoo predict`", family=family
        )
    with download_progress() as progress:
        return fetch(name, progress)


def open_generator(folder: Path, device: str) -> Pipeline:
    """A pipeline that generates text, on a bundle (without paddle where the back end allows) or a model folder.

    Raises:
        UsageError: the model does not generate (`no-generation`).
    """
    if (folder / "onnx").is_dir() or (folder / "paddle").is_dir():
        from zoo_cli import runtime
        from zoo_cli.tasks.generative import require_generative

        pipeline: Pipeline = runtime.load(folder)
        require_generative(pipeline.task)
        return pipeline
    from zoo_cli.engine.device import use_device

    use_device(device)
    from zoo_cli.engine.answering import load_generator

    return load_generator(folder)
