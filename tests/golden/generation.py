"""How upstream's calls of generating models are made with this project's functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from zoo_cli import models
from zoo_cli.models.losses import IGNORED

CAUSAL = ("GPT",)
"""Beginnings of names of classes that hide later tokens by themselves."""


def replay_generate(model: Any, named: dict[str, Any], from_huggingface: bool) -> Any:
    """A call of `generate`; upstream's option `use_cache` changes nothing but the time.

    Hugging Face returns the ids alone, the prompt included, and hides padding.
    """
    named.pop("use_cache", None)
    if not from_huggingface:
        return models.generate(model, upstream_padding=True, **named)
    named["decode_strategy"] = "sampling" if named.pop("do_sample", False) else "greedy_search"
    ids, _ = models.generate(model, trunc_input=False, **named)
    return {"ids": ids}


def huggingface_arguments(named: dict[str, Any]) -> dict[str, Any]:
    """Hugging Face's language models shift the labels themselves."""
    if "labels" not in named:
        return named
    labels = named["labels"]
    end = paddle.full([labels.shape[0], 1], IGNORED, dtype=labels.dtype)
    return {**named, "labels": paddle.concat([labels[:, 1:], end], axis=1)}


def huggingface_output(model: Any, output: Any) -> Any:
    """Hugging Face's last hidden state has passed the final norm."""
    if output.hidden_states is not None:
        output.hidden_states[-1] = model.backbone.decoder.norm(output.hidden_states[-1])
    return output


def visible_only(got: Any, expected: np.ndarray, masked: np.ndarray | None) -> Any:
    """A value for each token, as expected for tokens that see none: Hugging Face lets them attend to all alike, and
    nobody reads what comes of it."""
    if got is None or masked is None or np.shape(got)[:2] != masked.shape:
        return got
    return np.where(masked.reshape(*masked.shape, *[1] * (expected.ndim - 2)), expected, np.asarray(got))
