"""Building models, and reading and writing them as folders."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import write_json
from zoo_cli.models import checkpoint
from zoo_cli.models.base import Model
from zoo_cli.models.checkpoint import Layout
from zoo_cli.models.config import ModelConfig, parse
from zoo_cli.models.parallel import TensorGroup, divide, set_weight
from zoo_cli.models.stored import StoredTensor, read_part
from zoo_cli.registry import family, family_of, resolve

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """How the weights of a file fit a model; all names are the model's unless said otherwise.

    Args:
        loaded: weights that were set.
        missing: weights that the file lacks; they keep their fresh values.
        unexpected: names of the file for which the model has no place.
        mismatched: (name, shape in the file, shape in the model).
        conflicting: further names of a tied weight that the file gives other values; they were not used.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    conflicting: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the file and the model have exactly the same weights."""
        return not (self.missing or self.unexpected or self.mismatched or self.conflicting)

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} weights loaded"]
        for title, names in (
            ("missing, freshly drawn", self.missing),
            ("not used", self.unexpected),
            ("tied to another value", self.conflicting),
            (
                "of another shape",
                [f"{name}: {theirs} in the file, {ours} here" for name, theirs, ours in self.mismatched],
            ),
        ):
            if names:
                lines += [f"{len(names)} {title}:", *(f"  {name}" for name in names)]
        return "\n".join(lines)


def build(
    architecture: str, config: Mapping[str, Any] | ModelConfig | None = None, *, group: TensorGroup | None = None
) -> Any:
    """A model with freshly drawn weights, or a loss (``...Criterion``).

    Args:
        architecture: class name as in PaddleNLP or Hugging Face, e.g. ``"ErnieForTokenClassification"``.
        config: keys of a `config.json`; those left out take the family's defaults.
        group: processes that share the model; each gets its part of the weights that one alone would draw.

    Returns:
        A `zoo_cli.models.base.Model` (for a loss a `paddle.nn.Layer`) in training mode. The weights depend on
        `paddle.seed`.

    Raises:
        UsageError: there is no such class (`unknown-architecture`), or a value is wrong (`bad-config`).
    """
    model = _construct(architecture, config, group)
    if isinstance(model, Model):
        model.draw_weights()
    return model


def _construct(
    architecture: str, config: Mapping[str, Any] | ModelConfig | None, group: TensorGroup | None = None
) -> Any:
    """A model, or a process' part of one, whose weights are still to be drawn or read."""
    if group is not None:
        with paddle.LazyGuard():
            model = _construct(architecture, config)
        divide(model, group)
        return model
    if isinstance(config, ModelConfig):
        spec, values = family_of(architecture), config.as_dict()
    else:
        spec, values = checkpoint.normalise(config or {}, architecture)
    layout = checkpoint.huggingface_layout(spec)
    values["architectures"] = [layout.our_architecture(architecture) if layout else architecture]
    return resolve(spec.architectures[architecture])(parse(spec.config, values))


def load(
    folder: str | PathLike[str],
    architecture: str | None = None,
    *,
    strict: bool = False,
    overrides: Mapping[str, Any] | None = None,
    group: TensorGroup | None = None,
) -> Model:
    """A model with the weights of a folder of any layout (see `zoo_cli.models.checkpoint`).

    A backbone's weights fit under a head, whose own weights are then fresh; a head model's weights fit its backbone.

    Args:
        folder: configuration and weights.
        architecture: class to build; the one that the configuration names unless given.
        strict: accept only a file with exactly the model's weights. Otherwise weights of the head and of the pooler may
            be missing and unused ones may be there, both of which are logged as a warning.
        overrides: configuration keys that replace those of the file, e.g. ``{"num_labels": 5}``.
        group: processes that share the model. Each reads its part of the weights only, one weight after another (of
            pickled files one file after another).

    Returns:
        The model in evaluation mode; `load_report` says what was found.

    Raises:
        ArtifactError: the folder cannot be read, weights of the backbone are missing (`missing-weights`), or shapes
            differ (`wrong-shapes`), with the list of them.
    """
    folder = Path(folder)
    config = checkpoint.load_config(folder, architecture, overrides)
    weights = checkpoint.open_weights(folder)
    spec = family(config.family)
    if checkpoint.find_layout(folder) == "huggingface":
        layout = checkpoint.huggingface_layout(spec)
        if layout is None:
            raise ArtifactError(
                "wrong-family",
                "the weights are in Hugging Face's layout, which {family} does not have",
                at=Location.of(folder),
                family=spec.name,
            )
        weights = checkpoint.convert_weights(layout, weights)
    model: Model = _construct(architecture or config.architecture or spec.backbone, config, group)
    report = load_weights(model, weights, at=Location.of(folder))
    _check(model, report, strict, Location.of(folder))
    model.draw_weights(only=set(report.missing))
    model.load_report = report
    model.eval()
    return model


def _check(model: Model, report: LoadReport, strict: bool, at: Location) -> None:
    backbone = set(model.backbone.state_dict())
    inside = "" if model.backbone is model else f"{model.prefix}."
    required = {inside + name for name in backbone if not name.startswith(model.backbone.may_be_fresh)}
    lacking = [name for name in report.missing if strict or name in required]
    if lacking or (strict and not report.complete):
        raise ArtifactError(
            "missing-weights",
            "the weights do not fit {name}:\n{report}",
            at=at,
            name=model.config.architecture,
            report=report,
        )
    if not report.complete:
        logger.warning("%s: %s", at, report)


def load_weights(
    model: Model, weights: Mapping[str, np.ndarray | StoredTensor], at: Location | None = None
) -> LoadReport:
    """Set a model's weights from tensors in memory or in files, under PaddleNLP's names.

    The backbone's prefix may be missing or too much, and a tied weight may have any of its names.

    Args:
        model: what to fill.
        weights: name -> tensor; those in files are read one after another.
        at: where they are from, for errors.

    Raises:
        ArtifactError: shapes differ (`wrong-shapes`), with the list of them; nothing is set then.
    """
    parameters, aliases = _names(model)
    found: dict[str, np.ndarray | StoredTensor] = {}
    extra: dict[str, np.ndarray | StoredTensor] = {}
    unexpected: list[str] = []
    for given, value in model.own_weights(weights).items():
        name = _fitting_name(given, model.prefix, {*parameters, *aliases})
        if name is None:
            unexpected.append(given)
        elif name in aliases:
            extra[name] = value
        else:
            found[name] = value
    conflicting = []
    for name, value in extra.items():
        own = found.setdefault(aliases[name], value)
        if own is not value and not np.array_equal(read_part(own), read_part(value)):
            conflicting.append(name)
    report = LoadReport(
        loaded=tuple(found),
        missing=tuple(name for name in parameters if name not in found),
        unexpected=tuple(unexpected),
        mismatched=tuple(
            (name, tuple(value.shape), tuple(parameters[name].shape))
            for name, value in found.items()
            if tuple(value.shape) != tuple(parameters[name].shape)
        ),
        conflicting=tuple(conflicting),
    )
    if report.mismatched:
        raise ArtifactError(
            "wrong-shapes",
            "weights have other shapes than the configuration says:\n{table}",
            at=at,
            table="\n".join(f"  {name}: {theirs} in the file, {ours} here" for name, theirs, ours in report.mismatched),
        )
    for name, value in found.items():
        set_weight(parameters[name], value)
    return report


def _names(model: Model) -> tuple[dict[str, Any], dict[str, str]]:
    """A model's weights by their first name, and every further name -> first name."""
    parameters: dict[str, Any] = {}
    first: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for name, value in model.state_dict().items():
        if id(value) in first:
            aliases[name] = first[id(value)]
        else:
            first[id(value)] = name
            parameters[name] = value
    return parameters, {**aliases, **model.aliases()}


def _fitting_name(name: str, prefix: str, known: set[str]) -> str | None:
    for candidate in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
        if candidate in known:
            return candidate
    return None


def save(model: Model, folder: str | PathLike[str], layout: Layout = "zoo") -> None:
    """Write `config.json` and the weights into a folder, which is made if needed; files of the same name are replaced.

    Args:
        model: what to write.
        folder: where to.
        layout: ``"zoo"`` for `model.safetensors` with PaddleNLP's names (a tied weight once); ``"paddlenlp"`` for
            `model_state.pdparams` (under all its names); ``"huggingface"`` for `model.safetensors` with transformers'.

    Raises:
        UsageError: Hugging Face has no such class, or the model computes what theirs cannot.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parameters, aliases = _names(model)
    weights = {name: value.numpy() for name, value in parameters.items()}
    config = model.config
    values = config.as_dict()
    spec = family(config.family)
    architecture = config.architecture or spec.backbone
    if layout == "huggingface":
        theirs = checkpoint.huggingface_layout(spec)
        if theirs is None:
            raise UsageError("no-huggingface-class", "Hugging Face has no model like {family}", family=spec.name)
        values = theirs.config_to(config, architecture)
        checkpoint.write_safetensors(folder / checkpoint.SAFETENSORS, theirs.weights_to(weights, architecture), "pt")
    elif layout == "paddlenlp":
        weights |= {name: weights[own] for name, own in aliases.items()}
        checkpoint.write_pdparams(folder / checkpoint.PDPARAMS, weights)
    else:
        checkpoint.write_safetensors(folder / checkpoint.SAFETENSORS, weights, "np")
    write_json(folder / checkpoint.CONFIG, values)
