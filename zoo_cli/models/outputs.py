"""What a model returns: one object with named fields, always."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from paddle import Tensor

Cache = tuple[Tensor, Tensor]
"""Keys and values of one layer's earlier tokens, each [B, A, S, d] unless the family says otherwise."""


@dataclass
class ModelOutput:
    """Result of a forward pass; a field that the model does not have, or that was not asked for, is None.

    B is the batch, S the length, H the hidden size, A the heads, C the labels, V the vocabulary, L the layers. A family
    whose results have other names subclasses this in its own file.

    Args:
        loss: scalar, where labels were given.
        logits: [B, C], [B, S, C], [B, S, V] or [B, choices], see the class.
        start_logits: [B, S], scores of each token being the first of a span; `end_logits` the last.
        start_prob: [B, S], sigmoid of `start_logits`; `end_prob` of `end_logits`.
        prediction_logits: [B, S, V], or [n, V] at `masked_positions`.
        seq_relationship_logits: [B, 2].
        last_hidden_state: [B, S, H].
        pooler_output: [B, H].
        memories: [B, L, M, H], what each layer remembers for the next segment of the text.
        past_key_values: one (k, v) for each layer.
        hidden_states: L + 1 tensors [B, S, H], the embedding output first.
        attentions: L tensors [B, A, S, S], after the softmax.
        attention_scores: L tensors [B, A, S, S], before the softmax, masked.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    start_prob: Tensor | None = None
    end_prob: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    memories: Tensor | None = None
    past_key_values: Sequence[Cache] | None = None
    hidden_states: Sequence[Tensor] | None = None
    attentions: Sequence[Tensor] | None = None
    attention_scores: Sequence[Tensor] | None = None

    def items(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of the fields that are not None, in the order of declaration."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value
