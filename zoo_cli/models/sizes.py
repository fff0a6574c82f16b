"""Names and shapes of a model's weights, computed from its configuration without building it. No paddle.

What is said here once more in other words than in the modules is held against them by a test over all classes. It
serves the planning of runs that no single machine could try out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from zoo_cli.base.errors import UsageError
from zoo_cli.models.config import ModelConfig, parse
from zoo_cli.registry import FamilySpec, family_of

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(architecture: str, config: ModelConfig) -> Shapes:
    """Every weight of a freshly built model by its name in weight files; a tied one comes once.

    Args:
        architecture: class name.
        config: what it would be built from.

    Raises:
        UsageError: there is no such class (`unknown-architecture`), or it is one that has no weights (`no-weights`).
    """
    spec = family_of(architecture)
    kind = spec.architectures[architecture].rpartition(":")[2]
    if kind in _PAIRS:
        return _pair(spec, config, *_PAIRS[kind])
    if architecture == spec.backbone or kind == spec.architectures[spec.backbone].rpartition(":")[2]:
        return _backbone(config)
    if kind not in _HEADS:
        raise UsageError("no-weights", "{name} is no model whose size can be computed", name=architecture)
    return _under(f"{spec.prefix}.", _backbone(config)) | _HEADS[kind](config)


def parameter_count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers weights of these shapes are."""
    return sum(math.prod(shape) for shape in shapes.values())


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


# -- backbones -----------------------------------------------------------------------------------------------------


def _backbone(config: ModelConfig) -> Shapes:
    if config.family == "ernie_doc":
        return _document_backbone(config)
    hidden = config.hidden_size
    width = getattr(config, "embedding_size", hidden)  # of ELECTRA's tables
    shapes: Shapes = {f"embeddings.{name}_embeddings.weight": (rows, width) for name, rows in _tables(config).items()}
    if config.family in ("bert", "tinybert", "ernie", "ernie_m", "electra", "ernie_health"):
        shapes |= _norm("embeddings.layer_norm", width)
    if width != hidden:
        shapes |= _linear("embeddings_project", width, hidden)
    if config.family == "unimo":
        shapes |= _norm("encoder_norm", hidden)
    stack = "decoder" if config.family == "gpt" else "encoder"
    for index in range(config.num_hidden_layers):
        shapes |= _under(f"{stack}.layers.{index}.", _layer(config, index))
    if config.family in ("gpt", "unified_transformer"):
        shapes |= _norm(f"{stack}.norm", hidden)
    if config.family in ("bert", "tinybert", "ernie", "ernie_m"):
        shapes |= _linear("pooler.dense", hidden, hidden)
    if config.family == "tinybert":
        fitted = config.fit_size  # type: ignore[attr-defined]
        for index in range(config.num_hidden_layers + 1):
            shapes |= _linear(f"fit_denses.{index}", hidden, fitted)
        shapes |= _linear("fit_dense", hidden, fitted)
    return shapes


def _tables(config: ModelConfig) -> dict[str, int]:
    """Rows of the embedding tables, by the beginning of their name."""
    tables = {"word": config.vocab_size, "position": config.max_position_embeddings}
    if config.family not in ("ernie_m", "gpt"):
        tables["token_type"] = config.type_vocab_size  # type: ignore[attr-defined]
    if getattr(config, "use_task_id", False):
        tables["task_type"] = config.task_type_vocab_size  # type: ignore[attr-defined]
    tables["role"] = getattr(config, "role_type_size", None) or 0
    return {name: rows for name, rows in tables.items() if rows}


def _layer(config: ModelConfig, index: int) -> Shapes:
    sizes, hidden = config.layer_sizes(index), config.hidden_size
    width = sizes.num_heads * sizes.head_dim
    if getattr(config, "fuse_attention_qkv", False):
        shapes = _linear("self_attn.qkv_proj", hidden, 3 * width)
    else:
        shapes = {}
        for name in "qkv":
            shapes |= _linear(f"self_attn.{name}_proj", hidden, width)
    shapes |= _linear("self_attn.out_proj", width, hidden)
    shapes |= _linear("linear1", hidden, sizes.intermediate_size) | _linear("linear2", sizes.intermediate_size, hidden)
    return shapes | _norm("norm1", hidden) | _norm("norm2", hidden)


def _document_backbone(config: Any) -> Shapes:
    hidden = config.hidden_size
    shapes: Shapes = {
        "embeddings.word_emb.weight": (config.vocab_size, hidden),
        "embeddings.pos_emb.weight": (2 * config.max_position_embeddings + config.memory_len, hidden),
        "embeddings.token_type_emb.weight": (config.task_type_vocab_size, hidden),
    }
    for index in range(3):
        shapes |= _norm(f"embeddings.norms.{index}", hidden)
    for index in range(config.num_hidden_layers):
        sizes = config.layer_sizes(index)
        width = sizes.num_heads * sizes.head_dim
        layer: Shapes = {f"attn.r_{name}_bias": (width,) for name in "wrt"}
        for name in "qkvrt":
            layer |= _linear(f"attn.{name}_proj", hidden, width)
        layer |= _linear("attn.out_proj", width, hidden)
        layer |= _linear("ffn.linear1", hidden, sizes.intermediate_size)
        layer |= _linear("ffn.linear2", sizes.intermediate_size, hidden)
        shapes |= _under(f"encoder.layers.{index}.", layer | _norm("norm1", hidden) | _norm("norm2", hidden))
    return shapes | _linear("pooler.dense", hidden, hidden)


# -- heads ---------------------------------------------------------------------------------------------------------


def _vocabulary_head(prefix: str, config: ModelConfig) -> Shapes:
    hidden = config.hidden_size
    shapes = _linear("transform", hidden, hidden) | _norm("layer_norm", hidden)
    return _under(prefix, shapes | {"decoder_bias": (config.vocab_size,)})


def _generator_head(config: Any) -> Shapes:
    head = _linear("generator_predictions.dense", config.hidden_size, config.embedding_size)
    head |= _norm("generator_predictions.layer_norm", config.embedding_size)
    return head | {"generator_lm_head_bias": (config.vocab_size,)}


def _detector(prefix: str, config: ModelConfig) -> Shapes:
    hidden = config.hidden_size
    return _under(f"{prefix}.", _linear("dense", hidden, hidden) | _linear("dense_prediction", hidden, 1))


def _dense_classifier(prefix: str, config: ModelConfig) -> Shapes:
    hidden = config.hidden_size
    return _under(f"{prefix}.", _linear("dense", hidden, hidden) | _linear("out_proj", hidden, config.num_labels))


def _health_heads(config: ModelConfig) -> Shapes:
    hidden = config.hidden_size
    shapes = _detector("discriminator_rtd", config) | _linear("discriminator_mts", hidden, hidden)
    return shapes | {"bias_mts.weight": (config.vocab_size, 1)} | _dense_classifier("discriminator_csp", config)


def _token_pairs(config: Any) -> Shapes:
    shapes: Shapes = {}
    for name, kinds in (("entity", config.num_labels), ("head", config.num_links), ("tail", config.num_links)):
        if kinds:
            shapes |= _linear(f"{name}_output.dense1", config.hidden_size, 128)
            shapes |= _linear(f"{name}_output.dense2", 128, 2 * kinds)
    return shapes


_HEADS: dict[str, Callable[[Any], Shapes]] = {
    "SequenceClassifier": lambda c: _linear("classifier", c.hidden_size, c.num_labels),
    "TokenClassifier": lambda c: _linear("classifier", c.hidden_size, c.num_labels),
    "QuestionAnswering": lambda c: _linear("classifier", c.hidden_size, 2),
    "MultipleChoice": lambda c: _linear("classifier", c.hidden_size, 1),
    "IntentSlot": lambda c: (
        _linear("intent_classifier", c.hidden_size, c.num_intents)
        | _linear("slot_classifier", c.hidden_size, c.num_labels)
    ),
    "MaskedLM": lambda c: _vocabulary_head("cls.predictions.", c),
    "Pretraining": lambda c: (
        _vocabulary_head("cls.predictions.", c) | _linear("cls.seq_relationship", c.hidden_size, 2)
    ),
    "SpanExtraction": lambda c: _linear("linear_start", c.hidden_size, 1) | _linear("linear_end", c.hidden_size, 1),
    "UTC": lambda c: _linear("linear_q", c.hidden_size, 64) | _linear("linear_k", c.hidden_size, 64),
    "TokenPairs": _token_pairs,
    "TinyBertForPretraining": lambda c: {},
    "TinyBertForSequenceClassification": lambda c: _linear("classifier", c.hidden_size, c.num_labels),
    "ErnieDocForSequenceClassification": lambda c: _linear("linear", c.hidden_size, c.num_labels),
    "ErnieDocForTokenClassification": lambda c: _linear("linear", c.hidden_size, c.num_labels),
    "ErnieDocForQuestionAnswering": lambda c: _linear("linear", c.hidden_size, 2),
    "ErnieDocForMultipleChoice": lambda c: _linear("linear", c.hidden_size, 1),
    "ErnieDocForPretraining": lambda c: (
        _vocabulary_head("lm_head.", c) | _linear("order_classifier", c.hidden_size, c.num_labels)
    ),
    "ElectraForSequenceClassification": lambda c: _dense_classifier("classifier", c),
    "ElectraForMultipleChoice": lambda c: (
        _linear("sequence_summary.dense", c.hidden_size, c.hidden_size) | _linear("classifier", c.hidden_size, 1)
    ),
    "ElectraForBinaryTokenClassification": lambda c: (
        _linear("classifier_oth", c.hidden_size, c.num_labels_oth)
        | _linear("classifier_sym", c.hidden_size, c.num_labels_sym)
    ),
    "ElectraForSPO": lambda c: (
        _linear("classifier", c.hidden_size, 2)
        | _linear("span_attention.q_proj", c.hidden_size, c.num_labels * c.hidden_size)
        | _linear("span_attention.k_proj", c.hidden_size, c.num_labels * c.hidden_size)
    ),
    "ElectraGenerator": _generator_head,
    "ElectraDiscriminator": lambda c: _detector("discriminator_predictions", c),
    "ErnieHealthDiscriminator": _health_heads,
    "PrefixLM": lambda c: _vocabulary_head("lm_head.", c),
    "GPTForCausalLM": lambda c: {},
    "GPTForGreedyGeneration": lambda c: {},
    "GPTForSequenceClassification": lambda c: {"score.weight": (c.hidden_size, c.num_labels)},
}
"""Class -> its own weights, without those of the backbone."""

_PAIRS: dict[str, tuple[Callable[[Any], Shapes], bool]] = {
    "ElectraForTotalPretraining": (_HEADS["ElectraDiscriminator"], True),
    "ErnieHealthForTotalPretraining": (_health_heads, False),
}
"""Class of a generator with a discriminator -> the latter's own weights, and whether they share word embeddings."""


def generator_config(config: ModelConfig) -> ModelConfig:
    """Configuration of the generator in a pair that `config` describes."""
    values = config.as_dict()
    changes = values.pop("generator_config", None) or {}
    return parse(type(config), {**values, **changes})


def _pair(spec: FamilySpec, config: ModelConfig, head: Callable[[Any], Shapes], tied: bool) -> Shapes:
    generator = generator_config(config)
    prefix = f"{spec.prefix}."
    shapes = _under("generator.", _under(prefix, _backbone(generator)) | _generator_head(generator))
    shapes |= _under("discriminator.", _under(prefix, _backbone(config)) | head(config))
    if tied:
        del shapes[f"discriminator.{prefix}embeddings.word_embeddings.weight"]
    return shapes
