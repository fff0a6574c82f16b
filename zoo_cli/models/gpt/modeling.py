"""GPT-2: Language Models are Unsupervised Multitask Learners, and CPM.

Radford et al., 2019; Zhang et al., 2020, https://arxiv.org/abs/2012.00413. In shape comments B is the batch, S the
length, T the length with the cached past, H the hidden size, A the heads, d the width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from zoo_cli.decoding.engine import Decoder, Request
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.models.base import HeadModel
from zoo_cli.models.config import LayerSizes
from zoo_cli.models.generation import RunningBatch
from zoo_cli.models.gpt.config import GPTConfig
from zoo_cli.models.heads import head_output, vocabulary_scores
from zoo_cli.models.language_model import LanguageBackbone, LanguageModel
from zoo_cli.models.layers import HIDDEN, AttentionResult, Dropout, LayerNorm, Linear, activation, softmax
from zoo_cli.models.losses import classification_loss, token_losses
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor


class GPTEmbeddings(nn.Layer):
    """Word + position embeddings and dropout.

    Args:
        config: sizes.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor | None, position_ids: Tensor, inputs_embeds: Tensor | None = None) -> Tensor:
        """Embed ids [B, S], or add to given word embeddings [B, S, H]; the result is [B, S, H]."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        return self.dropout(words + self.position_embeddings(position_ids))


class GPTAttention(nn.Layer):
    """Self-attention; its cache is [B, T, A, d], as in PaddleNLP.

    Args:
        config: `hidden_size`, `fuse_attention_qkv`, `scale_qk_coeff` and the dropout.
        sizes: heads of this layer.
    """

    def __init__(self, config: GPTConfig, sizes: LayerSizes) -> None:
        super().__init__()
        self.num_heads = sizes.num_heads
        self.head_dim = sizes.head_dim
        # As a whole; PaddleNLP multiplies queries by (c * d) ** -0.5, and scores by c.
        self.scale = (config.scale_qk_coeff / self.head_dim) ** 0.5
        width = self.num_heads * self.head_dim
        self.fused = config.fuse_attention_qkv
        if self.fused:
            self.qkv_proj = Linear(config.hidden_size, 3 * width)
        else:
            self.q_proj = Linear(config.hidden_size, width)
            self.k_proj = Linear(config.hidden_size, width)
            self.v_proj = Linear(config.hidden_size, width)
        self.out_proj = Linear(width, config.hidden_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    @property
    def projections(self) -> tuple[nn.Linear, ...]:
        """What makes queries, keys and values: one for all three, a head's next to each other, or one for each."""
        return (self.qkv_proj,) if self.fused else (self.q_proj, self.k_proj, self.v_proj)

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, S, A, d] of `hidden` [B, S, H]."""
        projected = [projection(hidden).reshape([0, 0, self.num_heads, -1]) for projection in self.projections]
        query, key, value = projected[0].split(3, axis=-1) if self.fused else projected
        return query, key, value

    def forward(self, hidden: Tensor, bias: Tensor, past: Cache | None = None) -> AttentionResult:
        """Attend from `hidden` [B, S, H] to itself and to the cached `past`; `bias` is added to the scores."""
        query, key, value = self.project(hidden)
        if past is not None:
            key = paddle.concat([past[0], key], axis=1)  # [B, T, A, d]
            value = paddle.concat([past[1], value], axis=1)
        cache = (key, value)
        query, key, value = (x.transpose([0, 2, 1, 3]) for x in (query, key, value))  # [B, A, S or T, d]
        scores = paddle.matmul(query * self.scale, key, transpose_y=True)  # [B, A, S, T]
        scores = scores + (bias if bias.dtype == scores.dtype else bias.astype(scores.dtype))
        probabilities = softmax(scores)
        context = paddle.matmul(self.dropout(probabilities), value)  # [B, A, S, d]
        merged = context.transpose([0, 2, 1, 3]).reshape([0, 0, self.num_heads * self.head_dim])  # [B, S, A * d]
        return AttentionResult(self.out_proj(merged), cache, scores, probabilities)


class GPTDecoderLayer(nn.Layer):
    """Attention and a feed-forward network, each with a residual connection and a LayerNorm.

    Args:
        config: sizes, activation, dropouts and `normalize_before`.
        sizes: heads and feed-forward width of this layer.
    """

    def __init__(self, config: GPTConfig, sizes: LayerSizes) -> None:
        super().__init__()
        self.normalize_before = config.normalize_before
        self.self_attn = GPTAttention(config, sizes)
        self.linear1 = Linear(config.hidden_size, sizes.intermediate_size)
        self.linear2 = Linear(sizes.intermediate_size, config.hidden_size)
        self.norm1 = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.norm2 = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.dropout1 = Dropout(config.attention_probs_dropout_prob)
        self.dropout2 = Dropout(config.hidden_dropout_prob)
        self.activation = activation("gelu_new" if config.hidden_activation == "gelu" else config.hidden_activation)

    def forward(self, hidden: Tensor, bias: Tensor, past: Cache | None = None) -> AttentionResult:
        """One layer on `hidden` [B, S, H]; the result's `hidden` is the layer's output, the rest is its attention's."""
        attention = self.self_attn(self.norm1(hidden) if self.normalize_before else hidden, bias, past)
        hidden = self.dropout1(attention.hidden, hidden)
        if not self.normalize_before:
            hidden = self.norm1(hidden)
        inner = self.norm2(hidden) if self.normalize_before else hidden
        hidden = self.dropout2(self.linear2(self.activation(self.linear1(inner))), hidden)
        if not self.normalize_before:
            hidden = self.norm2(hidden)
        return attention._replace(hidden=hidden)


class GPTDecoder(nn.Layer):
    """The layers and a final LayerNorm.

    Args:
        config: sizes.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.layers = nn.LayerList(
            [GPTDecoderLayer(config, config.layer_sizes(index)) for index in range(config.num_hidden_layers)]
        )
        self.norm = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)

    def forward(
        self,
        hidden: Tensor,
        bias: Tensor,
        past_key_values: Sequence[Cache] | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Run all layers on `hidden` [B, S, H]; the last of `hidden_states` is the one before the final norm."""
        states, caches, probabilities, scores = [hidden], [], [], []
        for index, layer in enumerate(self.layers):
            result = layer(hidden, bias, past_key_values[index] if past_key_values else None)
            hidden = result.hidden
            # Kept only where asked for, so that the rest is freed layer by layer.
            if output_hidden_states:
                states.append(hidden)
            if use_cache:
                caches.append(result.cache)
            if output_attentions:
                probabilities.append(result.probabilities)
            if output_attention_scores:
                scores.append(result.scores)
        return ModelOutput(
            last_hidden_state=self.norm(hidden),
            past_key_values=caches if use_cache else None,
            hidden_states=states if output_hidden_states else None,
            attentions=probabilities if output_attentions else None,
            attention_scores=scores if output_attention_scores else None,
        )


class GPTModel(LanguageBackbone):
    """Embeddings and a decoder in which no token sees a later one. There is no pooler.

    Args:
        config: sizes.
    """

    cache_heads_axis = 2

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.embeddings = GPTEmbeddings(config)
        self.decoder = GPTDecoder(config)

    @property
    def stack(self) -> GPTDecoder:
        return self.decoder

    def embed(self, input_ids: Tensor | None, position_ids: Tensor, inputs_embeds: Tensor | None = None) -> Tensor:
        return self.embeddings(input_ids, position_ids, inputs_embeds)

    def spread(self, name: str) -> float:
        """Weights that end a residual branch start smaller the more layers there are."""
        spread = super().spread(name)
        if name.endswith(("out_proj.weight", "linear2.weight")):
            spread /= (2 * self.config.num_hidden_layers) ** 0.5
        return spread

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Sequence[Cache] | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Read a batch.

        Args:
            input_ids: [B, S].
            position_ids: [B, S]; 0 to S - 1 unless given, counting on from the cache.
            attention_mask: 1 for tokens to see, [B, T] or [B, 1 or A, S, T]; unless given all, padding too. Later
                tokens are hidden in any case.
            inputs_embeds: [B, S, H] in place of the word embeddings of `input_ids`.
            past_key_values: cache of an earlier call with `use_cache`.

        Returns:
            `last_hidden_state` [B, S, H], and what the flags ask for; caches are [B, T, A, d].
        """
        length = paddle.shape(input_ids if inputs_embeds is None else inputs_embeds)[1]
        held = 3 - self.cache_heads_axis  # axis of the tokens in a cache
        past = paddle.shape(past_key_values[0][0])[held] if past_key_values else paddle.zeros([], dtype=length.dtype)
        positions = paddle.arange(past, past + length, dtype="int64")  # [S]
        visible = paddle.arange(past + length, dtype="int64") <= positions.unsqueeze(1)  # [S, T]
        if attention_mask is not None:
            mask = attention_mask if attention_mask.ndim > 2 else attention_mask.unsqueeze([1, 2])
            visible = paddle.logical_and(visible, mask.astype("int64") != 0)  # [B, 1 or A, S, T]
        bias = (1.0 - visible.astype(paddle.get_default_dtype())) * HIDDEN
        hidden = self.embed(input_ids, positions if position_ids is None else position_ids, inputs_embeds)
        return self.decoder(
            hidden, bias, past_key_values, use_cache, output_hidden_states, output_attentions, output_attention_scores
        )


class GPTPretrainingCriterion(nn.Layer):
    """Loss of GPT's pretraining.

    Args:
        config: `ignore_index` is the label that does not count.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, prediction_scores: Tensor, masked_lm_labels: Tensor, loss_mask: Tensor | None = None) -> Tensor:
        """Mean cross entropy of [B, S, V] against the next tokens [B, S] (the caller has shifted them).

        The mean is weighted by `loss_mask` [B, S]. Without one it is taken where the loss is above 0, as in PaddleNLP.
        """
        losses, _ = token_losses(prediction_scores.astype("float32"), masked_lm_labels, self.config.ignore_index)
        weights = losses > 0 if loss_mask is None else loss_mask.reshape([-1])
        weights = weights.astype(losses.dtype)
        total = weights.sum()
        return (losses * weights).sum() / paddle.where(total == 0, paddle.ones_like(total), total)


@dataclass
class CausalLMOutput(ModelOutput):
    """Result of `GPTForCausalLM`.

    Args:
        labels: the token after each, int64 [B, S], where they were given.
    """

    labels: Tensor | None = None

    @property
    def label_losses(self) -> Tensor:
        """Negative log-likelihood of each label, float32 [B, S]; 0 where the label is -100."""
        assert self.logits is not None and self.labels is not None
        losses, _ = token_losses(self.logits.astype("float32"), self.labels)
        return losses.reshape(self.labels.shape)

    @property
    def label_hits(self) -> Tensor:
        """Whether each label is the likeliest token, int64 [B, S]."""
        assert self.logits is not None and self.labels is not None
        return (self.logits.argmax(axis=-1) == self.labels).astype("int64")


class GPTForCausalLM(LanguageModel):
    """Scores of the next token, by the word embedding table.

    Args:
        config: what it is built from.
    """

    padding_is_seen = True

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.criterion = GPTPretrainingCriterion(config)

    def aliases(self) -> Mapping[str, str]:
        return {"lm_head.weight": f"{self.prefix}.embeddings.word_embeddings.weight"}

    def score(self, hidden: Tensor) -> Tensor:
        return vocabulary_scores(hidden, self.backbone.embeddings.word_embeddings.weight)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        loss_mask: Tensor | None = None,
        **inputs: Any,
    ) -> CausalLMOutput:
        """`logits` [B, S, V]; with `labels` [B, S], the token after each, also `GPTPretrainingCriterion`'s `loss`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.score(base.last_hidden_state)
        loss = None if labels is None else self.criterion(logits, labels, loss_mask)
        return CausalLMOutput(**dict(head_output(base, loss=loss, logits=logits).items()), labels=labels)


class GPTForSequenceClassification(HeadModel):
    """Class scores of each text, from its last token that is not the end token.

    Args:
        config: sizes.
    """

    config: GPTConfig

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias_attr=False)

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, C]; with `labels` also `loss`, see `zoo_cli.models.losses.classification_loss`.

        The token is found as in PaddleNLP, by counting the ids that are not `eos_token_id`: texts have to be padded on
        the right with the end token.
        """
        base = self.backbone(input_ids, **inputs)
        scores = self.score(base.last_hidden_state)  # [B, S, C]
        last = (input_ids != self.config.eos_token_id).astype("int64").sum(axis=-1) - 1  # [B]
        shape = paddle.shape(input_ids).astype("int64")
        rows = paddle.arange(shape[0], dtype="int64") * shape[1]
        logits = scores.flatten(0, 1).gather(rows + last.clip(min=0))  # [B, C]
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return head_output(base, loss=loss, logits=logits)


@dataclass
class GreedyGenerationOutput(ModelOutput):
    """Result of `GPTForGreedyGeneration`.

    Args:
        sequences: prompts and their continuations, int64 [B, S + new].
    """

    sequences: Tensor | None = None


class GPTForGreedyGeneration(LanguageModel):
    """Continues texts by the best token each time, and returns the whole batch at once.

    Args:
        config: `max_predict_len` and `eol_token_id` say when it stops.
    """

    config: GPTConfig

    def score(self, hidden: Tensor) -> Tensor:
        return vocabulary_scores(hidden, self.backbone.embeddings.word_embeddings.weight)

    def forward(self, input_ids: Tensor) -> GreedyGenerationOutput:
        """`sequences`: the prompts [B, S] and at most 1 + `max_predict_len` tokens more.

        As in PaddleNLP, padding is read like any token, and all rows stop when the largest of their new ids is the end
        of a line.
        """
        steps = self.config.max_predict_len + 1
        prompts = input_ids.numpy().astype(np.int64)
        columns = [prompts]
        options = GenerationOptions(max_new_tokens=steps)
        decoder = Decoder(RunningBatch(self))
        updates = decoder.add([Request({"input_ids": row}, options) for row in prompts])
        while True:
            tokens = np.array([[token] for update in updates for _, token in update.tokens])
            columns.append(tokens)
            if len(columns) > steps or tokens.max() == self.config.eol_token_id:
                break
            updates = decoder.step()
        return GreedyGenerationOutput(sequences=paddle.to_tensor(np.concatenate(columns, axis=1)))
