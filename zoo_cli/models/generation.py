"""Text generation with the models of this package.

`generate` is PaddleNLP's method of that name as a function; `RunningBatch` is the model behind
`zoo_cli.decoding.engine`, for callers whose requests come and go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from pydantic import ValidationError

from zoo_cli.base.errors import UsageError
from zoo_cli.decoding import engine
from zoo_cli.decoding.arrays import join_results, split_prompts, stack_prompts
from zoo_cli.decoding.engine import Prompt, Request
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.processors import TokenLogits
from zoo_cli.models.cache import DecodingCache
from zoo_cli.models.language_model import LanguageModel
from zoo_cli.models.outputs import Cache, Tensor
from zoo_cli.models.parallel import divided_among, own_heads, whole
from zoo_cli.models.single_token import SingleTokenStack


class RunningBatch:
    """A language model with a running batch of rows: the `zoo_cli.decoding.engine.StepModel` of paddle models.

    Args:
        model: in evaluation mode; its weights may not change while there are rows. Processes that share it do the same
            things in the same order; each has the keys and values of its own heads.
    """

    def __init__(self, model: LanguageModel) -> None:
        sizes = [model.config.layer_sizes(index) for index in range(model.config.num_hidden_layers)]
        self._model = model
        self._backbone = model.backbone
        self._layers = SingleTokenStack(model.backbone.stack)
        parts = divided_among(model.backbone.stack.layers[0].self_attn.out_proj.weight) if sizes else 1
        self._cache = DecodingCache([size.num_heads // parts for size in sizes], sizes[0].head_dim)
        self._last: dict[str, np.ndarray] = {}  # what each row's last token had as inputs, int64 [n]

    @property
    def token_logits(self) -> TokenLogits:
        return self._model.config.token_logits

    def room(self, prompt: Prompt) -> int:
        last = int(prompt["position_ids"][-1]) if "position_ids" in prompt else len(prompt["input_ids"]) - 1
        return self._model.config.max_position_embeddings - last  # the last token generated is not read

    @paddle.no_grad()
    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        inputs, mask, lengths = stack_prompts(prompts, self._model.token_inputs)
        count, width = inputs["input_ids"].shape
        output = self._backbone(**_tensors(inputs), attention_mask=paddle.to_tensor(mask), use_cache=True)
        ends = lengths - 1
        visible = mask if mask.ndim == 2 else mask[np.arange(count), 0, ends]
        self._cache.add_rows(self._heads_first(output.past_key_values), lengths, visible)
        last = {name: values[np.arange(count), ends] for name, values in inputs.items()}
        self._last = {name: np.concatenate([self._last.get(name, last[name][:0]), last[name]]) for name in last}
        flat = paddle.to_tensor(np.arange(count) * width + ends)
        hidden = whole(output.last_hidden_state).flatten(0, 1).gather(flat)  # [m, H]
        return self._model.score(hidden).astype("float32").numpy()

    @paddle.no_grad()
    def step(self, tokens: np.ndarray) -> np.ndarray:
        self._last["input_ids"] = tokens
        self._last["position_ids"] = self._last["position_ids"] + 1
        self._cache.open_step()
        embedded = self._backbone.embed(**_tensors({name: values[:, None] for name, values in self._last.items()}))
        hidden = self._layers(whole(embedded).squeeze(1), self._cache)  # [n, H]
        return self._model.score(hidden).astype("float32").numpy()

    def select(self, rows: np.ndarray) -> None:
        self._last = {name: values[rows] for name, values in self._last.items()}
        self._cache.select(rows)

    def _heads_first(self, caches: Sequence[Cache]) -> Iterator[Cache]:
        """Caches [m, A, S, d] of the layers, each freed when the next is asked for."""
        waiting = list(caches)
        while waiting:
            key, value = (own_heads(part, self._backbone.cache_heads_axis) for part in waiting.pop(0))
            if self._backbone.cache_heads_axis == 2:
                key, value = key.transpose([0, 2, 1, 3]), value.transpose([0, 2, 1, 3])
            yield key, value


def _tensors(inputs: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Inputs of the model; roles are left out where nobody has one."""
    given = {name: values for name, values in inputs.items() if name != "role_ids" or (values >= 0).any()}
    return {name: paddle.to_tensor(values) for name, values in given.items()}


def generate(
    model: LanguageModel,
    input_ids: Tensor | np.ndarray | None = None,
    *,
    attention_mask: Tensor | np.ndarray | None = None,
    position_ids: Tensor | np.ndarray | None = None,
    token_type_ids: Tensor | np.ndarray | None = None,
    role_ids: Tensor | np.ndarray | None = None,
    trunc_input: bool = True,
    upstream_padding: bool = False,
    max_rows: int | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Continue texts, with the options and results of PaddleNLP 2.8.1's method.

    Rows that have ended leave the batch, and only the scores of the last token of a prompt are computed.

    Args:
        model: such as `GPTForCausalLM`; it is in evaluation mode meanwhile.
        input_ids: prompts [B, S], shorter ones padded on the left; the begin token unless given.
        attention_mask: who sees whom, [B, S] or [B, 1, 1 or S, S]: 1 (float masks of more than two dimensions: 0) at
            tokens to see. The tokens generated see what the last token of the prompt sees, and each other.
        position_ids: [B, S]; counted from the first token that is not padding unless given.
        token_type_ids: [B, S], for models that have them; 0 unless given.
        role_ids: [B, S], for models that have them.
        trunc_input: return the new tokens only; otherwise `input_ids` and the new tokens.
        upstream_padding: treat left padding as PaddleNLP does: it counts for `repetition_penalty` and
            `no_repeat_ngram_size`, and GPT reads it like a text. Otherwise a prompt gives the same whatever the
            padding. Padding is where a two-dimensional `attention_mask` starts with zeros; without one, where a row
            starts with `pad_token_id`, unless that is the end token as well.
        max_rows: rows that are worked on at the same time; all unless given.
        options: see `zoo_cli.decoding.options.GenerationOptions`. Special tokens are the configuration's unless given.

    Returns:
        Ids int64 [n, longest] and scores float32 [n, 1], n = B * `num_return_sequences`. Rows that ended early are
        filled with `pad_token_id`.

    Raises:
        UsageError: an option is wrong (`bad-option`), or the model has no roles (`no-roles`).
        DataError: a prompt is empty (`empty-prompt`) or too long (`prompt-too-long`).
    """
    config = model.config
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        options.setdefault(name, getattr(config, name))
    parsed = _parse(options)
    if role_ids is not None and "role_ids" not in model.token_inputs:
        raise UsageError("no-roles", "the model has no role embeddings", fix="leave role_ids out")
    given = {
        "input_ids": [[parsed.bos_token_id]] if input_ids is None else input_ids,
        "attention_mask": attention_mask,
        "position_ids": position_ids,
        "token_type_ids": token_type_ids,
        "role_ids": role_ids,
    }
    batch = {name: np.asarray(value) for name, value in given.items() if value is not None}
    pad = parsed.eos_token_id if parsed.pad_token_id is None else parsed.pad_token_id
    prompts = split_prompts(
        batch,
        None if pad == parsed.eos_token_id else pad,
        hide_padding=not (upstream_padding and model.padding_is_seen),
    )
    requests = [
        Request(prompt, parsed, history=row if upstream_padding else None)
        for prompt, row in zip(prompts, batch["input_ids"], strict=True)
    ]
    with _evaluating(model):
        ids, scores = join_results(engine.generate(RunningBatch(model), requests, max_rows), pad or 0)
    if not trunc_input:
        ids = np.concatenate([np.repeat(batch["input_ids"], parsed.num_return_sequences, axis=0), ids], axis=1)
    return paddle.to_tensor(ids), paddle.to_tensor(scores)


def _parse(options: dict[str, Any]) -> GenerationOptions:
    try:
        return GenerationOptions.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            "bad-option",
            "generation option {name}: {reason}",
            name=".".join(str(part) for part in first["loc"]) or "(together)",
            reason=first["msg"],
        ) from error


@contextmanager
def _evaluating(model: LanguageModel) -> Iterator[None]:
    if not model.training:
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()
