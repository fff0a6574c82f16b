"""Tiny models of the families that are written in this project, and batches for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from zoo_cli import models
from zoo_cli.registry import FAMILIES, FamilySpec, family, family_of

VOCABULARY = 100
"""Ids that all tiny models know."""

BACKBONES = [
    name
    for name in FAMILIES
    if {"input_ids", "attention_mask"} <= set(family(name).inputs)
    and set(family(name).inputs) <= {"input_ids", "token_type_ids", "position_ids", "attention_mask"}
    and not family(name).config(**family(name).tiny).state_shapes
]
"""Families whose backbones take ids and a mask and a whole text at once, so that they can be tested alike."""


def tiny(architecture: str, **changes: Any) -> Any:
    """A tiny model in evaluation mode, with weights that are large enough to matter."""
    spec = family_of(architecture)
    paddle.seed(7)
    model = models.build(architecture, {**spec.tiny, "initializer_range": 0.3, **changes})
    model.eval()
    return model


def batch(spec: FamilySpec, lengths: list[int], width: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """Random texts of the given lengths, padded to `width`; a text depends on its place in the list only."""
    width = width or max(lengths)
    pad = spec.config.model_fields["pad_token_id"].default  # type: ignore[attr-defined]
    arrays = {name: np.zeros((len(lengths), width), np.int64) for name in spec.inputs}
    arrays["input_ids"][:] = pad
    for row, length in enumerate(lengths):
        ids = np.random.default_rng([seed, row]).integers(5, VOCABULARY, length)
        arrays["input_ids"][row, :length] = ids
        arrays["attention_mask"][row, :length] = 1
        if "token_type_ids" in arrays:
            arrays["token_type_ids"][row, length // 2 : length] = 1
        if "position_ids" in arrays:
            arrays["position_ids"][row, :length] = np.arange(length)
    return arrays


def call(model: Any, arrays: dict[str, np.ndarray], **more: Any) -> Any:
    """The result of a model on numpy arrays, without gradients."""
    with paddle.no_grad():
        return model(**{name: paddle.to_tensor(value) for name, value in arrays.items()}, **more)
