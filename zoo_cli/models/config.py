"""Model configurations: what a `config.json` says, checked, without importing paddle.

The keys are PaddleNLP's. Keys that no class declares are kept and written back, so that a file survives a round trip.
Older spellings are accepted: aliases such as ``num_classes``, the nested `model_config.json`, and the `config.json` of
Hugging Face (translated by the family, see `zoo_cli.models.conversion`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from zoo_cli.base.errors import ArtifactError, ErrorGroup, Location, UsageError, ZooError


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of one encoder or decoder layer; they differ between the layers of a pruned model.

    Args:
        num_heads: attention heads.
        head_dim: width of one head.
        intermediate_size: width of the feed-forward network.
    """

    num_heads: int
    head_dim: int
    intermediate_size: int


class ModelConfig(BaseModel):
    """Configuration keys that all families share.

    Args:
        architectures: class names; the first says what the weights are for.
        model_type: name of the family in PaddleNLP's and Hugging Face's files.
        hidden_size: width H of the model.
        num_hidden_layers: number L of layers.
        num_attention_heads: number A of heads of each layer, unless `layer_num_heads` is given.
        intermediate_size: width I of the feed-forward networks, unless `layer_intermediate_sizes` is given.
        head_dim: width of one head; H / A unless given (a pruned model keeps its head width).
        layer_num_heads: heads of each layer of a pruned model.
        layer_intermediate_sizes: feed-forward width of each layer of a pruned model.
        max_position_embeddings: rows P of the position table.
        initializer_range: standard deviation of freshly drawn weights.
        num_labels: outputs C of a classification head; follows `id2label` where both are given.
        id2label: label names by index.
        num_intents: intents of a joint head of intent and slots, whose slot tags are the labels.
        num_links: kinds of links between spans of a head for token pairs, whose kinds of spans are the labels.
        classifier_dropout: dropout before a classification head; `hidden_dropout_prob` unless given.
        problem_type: ``regression``, ``single_label_classification`` or ``multi_label_classification``; found from
            the labels unless given.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    family: ClassVar[str]
    """Key in `zoo_cli.registry.FAMILIES`."""

    aliases: ClassVar[Mapping[str, str]] = {"num_classes": "num_labels", "dropout": "classifier_dropout"}
    """Older key -> key; the key itself wins where a file has both."""

    huggingface: ClassVar[str | None] = None
    """Dotted name of the family's `zoo_cli.models.conversion.HuggingFaceLayout`, or None where there is no twin."""

    architectures: list[str] | None = None
    model_type: str | None = None
    vocab_size: int = Field(default=30522, gt=0)
    hidden_size: int = Field(default=768, gt=0)
    num_hidden_layers: int = Field(default=12, ge=0)
    num_attention_heads: int = Field(default=12, gt=0)
    intermediate_size: int = Field(default=3072, gt=0)
    head_dim: int | None = Field(default=None, gt=0)
    layer_num_heads: list[int] | None = None
    layer_intermediate_sizes: list[int] | None = None
    max_position_embeddings: int = Field(default=512, gt=0)
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    initializer_range: float = Field(default=0.02, ge=0)
    pad_token_id: int = 0
    num_labels: int = Field(default=2, gt=0)
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    num_choices: int | None = None
    num_intents: int = Field(default=2, gt=0)
    num_links: int = Field(default=0, ge=0)
    classifier_dropout: float | None = Field(default=None, ge=0, le=1)
    problem_type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _translate_aliases(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        translated = {key: value for key, value in values.items() if key not in cls.aliases}
        for old, new in cls.aliases.items():
            if old in values:
                translated.setdefault(new, values[old])
        return translated

    @field_validator("problem_type")
    @classmethod
    def _known_problem(cls, value: str | None) -> str | None:
        known = ("regression", "single_label_classification", "multi_label_classification")
        if value is not None and value not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.id2label:
            self.num_labels = len(self.id2label)
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        for name in ("layer_num_heads", "layer_intermediate_sizes"):
            sizes = getattr(self, name)
            if sizes is not None and (len(sizes) != self.num_hidden_layers or min(sizes, default=1) < 1):
                raise ValueError(f"{name} needs one positive number for each of {self.num_hidden_layers} layers")
        return self

    @property
    def architecture(self) -> str | None:
        """Class that the weights are for, or None where the file does not say."""
        return self.architectures[0] if self.architectures else None

    @property
    def longest_text(self) -> int:
        """Tokens that the model reads at once at most."""
        return self.max_position_embeddings

    @property
    def norm_epsilon(self) -> float:
        """Epsilon of the LayerNorms really in effect: PaddlePaddle's default unless the family says otherwise."""
        return 1e-5

    @property
    def head_dropout(self) -> float:
        """Dropout probability in front of a classification head."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """What a call hands to the next one on the same text: name -> shape without the batch axis.

        Each is a float input of the model, zeros at first, and a field of its result. Empty unless the family reads a
        text in several segments.
        """
        return {}

    @property
    def token_logits(self) -> dict[int, float]:
        """Logits that certain tokens always get in text generation: how a family bars its special tokens."""
        return {}

    def layer_sizes(self, index: int) -> LayerSizes:
        """Sizes of layer `index`, counted from 0."""
        return LayerSizes(
            num_heads=self.layer_num_heads[index] if self.layer_num_heads else self.num_attention_heads,
            head_dim=self.head_dim or self.hidden_size // self.num_attention_heads,
            intermediate_size=(
                self.layer_intermediate_sizes[index] if self.layer_intermediate_sizes else self.intermediate_size
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """The keys for a `config.json`: all that are set, unknown ones included."""
        return self.model_dump(mode="json", exclude_none=True)


Config = TypeVar("Config", bound=ModelConfig)


def parse(cls: type[Config], values: Mapping[str, Any], at: Location | None = None) -> Config:
    """Check configuration keys.

    Args:
        cls: configuration class of the family.
        values: keys and values, as a `config.json` has them.
        at: the file they are from, or None where they were given in code.

    Raises:
        ArtifactError, UsageError: a value is wrong (`bad-config`); the former where a file is named. All of them are
            reported at once.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        kind: type[ZooError] = ArtifactError if at else UsageError
        problems = [
            kind(
                "bad-config",
                "model configuration, key {key!r}: {reason}",
                at=at,
                key=".".join(str(part) for part in item["loc"]) or "(whole)",
                reason=item["msg"],
            )
            for item in error.errors()
        ]
        raise (problems[0] if len(problems) == 1 else ErrorGroup(problems)) from error


def override(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`; label names of the old label set are dropped when only their number changes."""
    merged = {**values, **changes}
    changes_labels = {"num_labels", "num_classes", "id2label", "label2id"} & set(changes)
    for key in ("num_labels", "num_classes", "id2label", "label2id") if changes_labels else ():
        if key not in changes:
            merged.pop(key, None)
    return merged


def flatten_legacy(values: Mapping[str, Any], at: Location | None = None) -> dict[str, Any]:
    """Keys of an old `model_config.json` in today's flat form.

    The old form keeps the backbone's keys in the list ``init_args`` and the class name in ``init_class``. The dict
    entries of the list are merged into the top level, where existing keys win.

    Raises:
        ArtifactError: `init_args` has an entry without a name (`unnamed-config-value`).
    """
    flat = {key: value for key, value in values.items() if key not in ("init_args", "init_class")}
    architecture = values.get("init_class")
    for entry in values.get("init_args") or ():
        if not isinstance(entry, Mapping):
            raise ArtifactError(
                "unnamed-config-value",
                "init_args has the value {value!r} without a name",
                at=at,
                fix='move it to the top level of the file under its name, for example "num_classes": {value}',
                value=entry,
            )
        architecture = architecture or entry.get("init_class")
        for key, value in entry.items():
            if key != "init_class":
                flat.setdefault(key, value)
    if architecture and not flat.get("architectures"):
        flat["architectures"] = [architecture]
    return flat
