"""TinyBERT: Distilling BERT for Natural Language Understanding.

Jiao et al., 2019, https://arxiv.org/abs/1909.10351. BERT with projections to the teacher's width, which only
distillation uses. Question answering and multiple choice are in `zoo_cli.models.heads`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import paddle.nn.functional as F
from paddle import nn

from zoo_cli.models.base import HeadModel, Model
from zoo_cli.models.heads import head_output
from zoo_cli.models.layers import Embeddings, Encoder, Pooler, attention_bias
from zoo_cli.models.losses import classification_loss
from zoo_cli.models.outputs import ModelOutput, Tensor
from zoo_cli.models.tinybert.config import TinyBertConfig


class TinyBertModel(Model):
    """Embeddings, a post-norm encoder, a pooler on the first token, and projections that the forward pass leaves out.

    Args:
        config: sizes.

    Attributes:
        fit_denses: L + 1 projections [H, fit_size], one for each of `hidden_states` (the published v2 models).
        fit_dense: one projection for all of them (the other published models).
    """

    may_be_fresh: ClassVar[tuple[str, ...]] = ("pooler.", "fit_dense.", "fit_denses.")

    def __init__(self, config: TinyBertConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config, config.type_vocab_size)
        self.encoder = Encoder(config)
        # PaddleNLP knows "tanh" and no activation at all.
        self.pooler = Pooler(config.hidden_size, "tanh" if config.pool_act == "tanh" else "linear")
        self.fit_denses = nn.LayerList(
            [nn.Linear(config.hidden_size, config.fit_size) for _ in range(config.num_hidden_layers + 1)]
        )
        self.fit_dense = nn.Linear(config.hidden_size, config.fit_size)

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Encode a batch.

        Args:
            input_ids: [B, S].
            token_type_ids: [B, S]; 0 unless given.
            position_ids: [B, S]; 0 to S - 1 unless given.
            attention_mask: 1 for tokens to see [B, S], or as `zoo_cli.models.layers.attention_bias` says; tokens that
                are not padding unless given.

        Returns:
            `last_hidden_state` [B, S, H], `pooler_output` [B, H], and what the flags ask for.
        """
        bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id)
        hidden = self.embeddings(input_ids, token_type_ids, position_ids)
        output = self.encoder(
            hidden,
            bias,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_attention_scores=output_attention_scores,
        )
        output.pooler_output = self.pooler(output.last_hidden_state)
        return output


class TinyBertForPretraining(HeadModel):
    """The backbone under the name that general distillation gives it; there is no head."""

    def forward(self, input_ids: Tensor, **inputs: Any) -> ModelOutput:
        """What the backbone returns."""
        return self.backbone(input_ids, **inputs)


class TinyBertForSequenceClassification(HeadModel):
    """Class scores of a text: ReLU on the pooled first token and a linear layer, without dropout, as in PaddleNLP."""

    def __init__(self, config: TinyBertConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, C]; with `labels` also `loss`, see `zoo_cli.models.losses.classification_loss`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.classifier(F.relu(base.pooler_output))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return head_output(base, loss=loss, logits=logits)
