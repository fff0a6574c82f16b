"""The layout of Hugging Face folders: names, transposed matrices and configuration keys, in both directions.

A family that has a twin there says in its `convert.py` what differs, as a `HuggingFaceLayout`. Nothing here needs
paddle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.models.config import ModelConfig

_LAYER = "{i}"
_OLD_NORM = {".gamma": ".weight", ".beta": ".bias"}
_THEIR_KEYS = (
    "model_type",
    "transformers_version",
    "torch_dtype",
    "position_embedding_type",
    "is_decoder",
    "add_cross_attention",
)


@dataclass(frozen=True)
class Rule:
    """One module (or one parameter) under both names, without the backbone's prefix; ``{i}`` is a layer number.

    Args:
        theirs: name in Hugging Face's files.
        ours: name in PaddleNLP's files.
        linear: whether it is a linear layer, whose weight is stored [out, in] there and [in, out] here.
        only: ending of the class names to which the rule is restricted when writing, where `ours` fits two of theirs.
    """

    theirs: str
    ours: str
    linear: bool = False
    only: str = ""


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(re.escape(_LAYER), r"(\d+)") + r"(\.weight|\.bias)?")


def _rename(name: str, template: str, target: str) -> str | None:
    """`name` with `template` replaced by `target`; None where it does not fit."""
    match = _pattern(template).fullmatch(name)
    if match is None:
        return None
    *numbers, ending = match.groups()
    for number in numbers:
        target = target.replace(_LAYER, number, 1)
    return target + (ending or "")


def encoder_rules() -> tuple[Rule, ...]:
    """The standard encoder as BERT, ERNIE and ELECTRA name it."""
    theirs, ours = "encoder.layer.{i}.", "encoder.layers.{i}."
    return (
        *(
            Rule(f"{theirs}attention.self.{name}", f"{ours}self_attn.{name[0]}_proj", linear=True)
            for name in ("query", "key", "value")
        ),
        Rule(f"{theirs}attention.output.dense", f"{ours}self_attn.out_proj", linear=True),
        Rule(f"{theirs}attention.output.LayerNorm", f"{ours}norm1"),
        Rule(f"{theirs}intermediate.dense", f"{ours}linear1", linear=True),
        Rule(f"{theirs}output.dense", f"{ours}linear2", linear=True),
        Rule(f"{theirs}output.LayerNorm", f"{ours}norm2"),
        Rule("embeddings.LayerNorm", "embeddings.layer_norm"),
        *(Rule(f"embeddings.{name}", f"embeddings.{name}") for name in EMBEDDING_TABLES),
        Rule("pooler.dense", "pooler.dense", linear=True),
    )


EMBEDDING_TABLES = (
    "word_embeddings",
    "position_embeddings",
    "token_type_embeddings",
    "task_type_embeddings",
)


def bert_head_rules() -> tuple[Rule, ...]:
    """The heads of BERT and of families that took them over."""
    return (
        Rule("qa_outputs", "classifier", linear=True, only="ForQuestionAnswering"),
        Rule("classifier", "classifier", linear=True),
        Rule("cls.predictions.transform.dense", "cls.predictions.transform", linear=True),
        Rule("cls.predictions.transform.LayerNorm", "cls.predictions.layer_norm"),
        Rule("cls.predictions.bias", "cls.predictions.decoder_bias"),
        Rule("cls.predictions.decoder", "cls.predictions.decoder"),
        Rule("cls.seq_relationship", "cls.seq_relationship", linear=True),
    )


@dataclass(frozen=True)
class HuggingFaceLayout:
    """How a family's folders look at Hugging Face. A family that needs more than renaming overrides the methods.

    Args:
        model_type: value of that key in their configuration.
        prefix: name of the backbone inside their head classes.
        family_prefix: the same here.
        rules: names.
        architectures: their class name -> ours.
        marker: regular expression that finds something in a name that only their files have.
        ignored: names, without prefix, of buffers that hold nothing learnt.
        defaults: values of configuration keys that their files may leave out and whose default here is another.
    """

    model_type: str
    prefix: str
    family_prefix: str
    rules: tuple[Rule, ...]
    architectures: Mapping[str, str]
    marker: str = r"\bencoder\.layer\.\d|LayerNorm"
    ignored: tuple[str, ...] = ("embeddings.position_ids",)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def owns(self, names: Iterable[str]) -> bool:
        """Whether weights of these names are in this layout."""
        return any(re.search(self.marker, name) for name in names)

    # -- weights ----------------------------------------------------------------------------------------------------

    def weights_from(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Their weights under our names. Names that no rule knows stay as they are."""
        converted: dict[str, np.ndarray] = {}
        for name, value in weights.items():
            for old, new in _OLD_NORM.items():
                name = name.removesuffix(old) + new if name.endswith(old) else name
            inner = name.removeprefix(f"{self.prefix}.")
            if inner in self.ignored:
                continue
            front = f"{self.family_prefix}." if inner != name else ""
            for rule in self.rules:
                renamed = _rename(inner, rule.theirs, rule.ours)
                if renamed is not None:
                    converted[front + renamed] = _transposed(value, renamed) if rule.linear else value
                    break
            else:
                converted[name] = value
        return converted

    def weights_to(self, weights: Mapping[str, np.ndarray], architecture: str) -> dict[str, np.ndarray]:
        """Our weights under their names.

        Raises:
            UsageError: they have no name for a weight (`no-huggingface-name`).
        """
        converted: dict[str, np.ndarray] = {}
        for name, value in weights.items():
            inner = name.removeprefix(f"{self.family_prefix}.")
            front = f"{self.prefix}." if inner != name else ""
            for rule in self.rules:
                renamed = _rename(inner, rule.ours, rule.theirs) if architecture.endswith(rule.only) else None
                if renamed is not None:
                    converted[front + renamed] = _transposed(value, renamed) if rule.linear else value
                    break
            else:
                raise UsageError(
                    "no-huggingface-name", "Hugging Face's layout has no place for the weight {name!r}", name=name
                )
        return converted

    # -- configuration ----------------------------------------------------------------------------------------------

    def our_architecture(self, name: str) -> str:
        """Our class for one of theirs; other names are returned unchanged."""
        return self.architectures.get(name, name)

    def their_architecture(self, name: str) -> str:
        """Their class for one of ours.

        Raises:
            UsageError: there is none (`no-huggingface-class`).
        """
        for theirs, ours in self.architectures.items():
            if ours == name:
                return theirs
        raise UsageError(
            "no-huggingface-class",
            "Hugging Face has no class for {name}",
            fix='save its backbone, or choose the layout "paddlenlp"',
            name=name,
        )

    def config_from(self, values: Mapping[str, Any], at: Location | None = None) -> dict[str, Any]:
        """Their configuration keys as ours.

        Raises:
            ArtifactError: the model computes something that this family's classes do not (`unsupported-config`).
        """
        for key, supported in (
            ("position_embedding_type", "absolute"),
            ("is_decoder", False),
            ("add_cross_attention", False),
        ):
            if values.get(key) not in (supported, None):
                raise unsupported(key, values[key], at)
        merged = {**self.defaults, **{key: value for key, value in values.items() if key not in _THEIR_KEYS}}
        merged["architectures"] = [self.our_architecture(name) for name in values.get("architectures") or ()] or None
        return merged

    def config_to(self, config: ModelConfig, architecture: str) -> dict[str, Any]:
        """Our configuration as theirs.

        Raises:
            UsageError: their classes cannot be set to what this model computes (`unsupported-config`).
        """
        for key in ("head_dim", "layer_num_heads", "layer_intermediate_sizes"):
            if getattr(config, key) is not None:
                raise UsageError(
                    "unsupported-config",
                    "Hugging Face's classes do not know {key}: the layers of a pruned model differ",
                    fix='choose the layout "paddlenlp"',
                    key=key,
                )
        values = config.as_dict()
        values["architectures"] = [self.their_architecture(architecture)]
        values["model_type"] = self.model_type
        values["position_embedding_type"] = "absolute"
        labels = config.id2label or {index: f"LABEL_{index}" for index in range(config.num_labels)}
        values["id2label"] = {str(index): label for index, label in labels.items()}
        values["label2id"] = {label: index for index, label in labels.items()}
        del values["num_labels"]
        return values


def unsupported(key: str, value: Any, at: Location | None) -> ArtifactError:
    """The error for a configuration that the family's classes here cannot follow."""
    return ArtifactError(
        "unsupported-config", "models with {key} = {value!r} are not supported", at=at, key=key, value=value
    )


def _transposed(value: np.ndarray, name: str) -> np.ndarray:
    return np.ascontiguousarray(value.T) if name.endswith(".weight") else value


def same_names(names: Sequence[str]) -> dict[str, str]:
    """A table of classes that are called the same on both sides."""
    return {name: name for name in names}
