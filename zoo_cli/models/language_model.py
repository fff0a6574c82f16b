"""What the generating families share: the interface to generation, and the blocks of the two prefix language models.

A prefix language model (Dong et al., 2019, https://arxiv.org/abs/1905.03197) is an encoder whose attention mask lets
everybody see the source and a target token its predecessors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import paddle
from paddle import nn

from zoo_cli.models.base import HeadModel, Model
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.heads import LMHead, head_output
from zoo_cli.models.layers import default_positions
from zoo_cli.models.losses import cross_entropy
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor


class LanguageBackbone(Model):
    """A backbone that reads prompts with `forward`, and then one token of each row at a time.

    Class attributes:
        cache_heads_axis: axis of the heads in the caches [B, A, T, d] that `forward` returns.
    """

    may_be_fresh = ()
    cache_heads_axis: ClassVar[int] = 1

    @property
    @abstractmethod
    def stack(self) -> nn.Layer:
        """The layers, as `zoo_cli.models.single_token.SingleTokenStack` takes them."""

    @abstractmethod
    def embed(self, *arguments: Any, **inputs: Any) -> Tensor:
        """What goes into the first layer [B, S, H], of `input_ids`, `position_ids` and more such inputs [B, S]."""


class LanguageModel(HeadModel):
    """A model that says what the next token is; `zoo_cli.models.generation.generate` continues texts with it.

    Class attributes:
        padding_is_seen: whether PaddleNLP's `generate` lets the model attend to left padding.
    """

    padding_is_seen: ClassVar[bool] = False

    @property
    def token_inputs(self) -> Mapping[str, int]:
        """Inputs beside ids and positions that each token has -> value where a prompt does not say."""
        return {}

    @abstractmethod
    def score(self, hidden: Tensor) -> Tensor:
        """Logits [n, V] of the tokens after those whose last hidden states [n, H] are given."""


class PrefixLM(LanguageModel):
    """UNIMO or UnifiedTransformer with vocabulary scores for each token, or for the masked ones.

    Args:
        config: what it is built from.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.lm_head = LMHead(config)

    @property
    def token_inputs(self) -> Mapping[str, int]:
        has_roles = getattr(self.config, "role_type_size", None) is not None
        return {"token_type_ids": 0, **({"role_ids": -1} if has_roles else {})}

    def aliases(self) -> Mapping[str, str]:
        return {"lm_head.decoder_weight": f"{self.prefix}.embeddings.word_embeddings.weight"}

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden, self.backbone.embeddings.word_embeddings.weight)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        masked_positions: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`logits` [B, S, V], or [n, V] at `masked_positions` [n] (row * S + column).

        With `labels` of the same places (not shifted, -100 does not count) also `loss`.
        """
        base = self.backbone(input_ids, **inputs)
        embedding = self.backbone.embeddings.word_embeddings.weight
        logits = self.lm_head(base.last_hidden_state, embedding, masked_positions)
        loss = None if labels is None else cross_entropy(logits, labels)
        return head_output(base, loss=loss, logits=logits)


class TokenEmbeddings(nn.Layer):
    """Word + position + token type embeddings, without norm and dropout.

    Args:
        config: sizes.
        type_vocab_size: rows of the token type table.
    """

    def __init__(self, config: ModelConfig, type_vocab_size: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(type_vocab_size, config.hidden_size)

    def forward(
        self,
        input_ids: Tensor | None,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Embed ids [B, S], or add to given word embeddings [B, S, H]; the result is [B, S, H]."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            token_type_ids = paddle.zeros_like(words[:, :, 0], dtype="int64")
        return words + self.position_embeddings(position_ids) + self.token_type_embeddings(token_type_ids)


def left_padded_positions(
    input_ids: Tensor | None,
    inputs_embeds: Tensor | None,
    pad_token_id: int,
    past_key_values: Sequence[Cache] | None = None,
) -> Tensor:
    """Positions that do not count the padding on the left of each row; with a past, or without ids, as
    `default_positions`.

    PaddleNLP subtracts all padding of a row, which comes to the same where padding is on the left only.
    """
    if input_ids is None or past_key_values:
        return default_positions(inputs_embeds if input_ids is None else input_ids, past_key_values)
    # A distributed tensor has no axis -1 in cumsum: Paddle writes where it must not.
    seen = (input_ids != pad_token_id).astype("int64").cumsum(axis=1) > 0  # [B, S]
    return (seen.astype("int64").cumsum(axis=1) - 1).clip(min=0)
