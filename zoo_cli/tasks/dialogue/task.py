"""Dialogue with UnifiedTransformer: PLATO-2, Bao et al. 2020, and PLATO-XL, Bao et al. 2021.

The encoding is that of PaddleNLP's `dialogue_encode`: knowledge and persona, then the turns, then the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import DialogueExample
from zoo_cli.decoding.engine import Prompt
from zoo_cli.tasks.base import Feature
from zoo_cli.tasks.dialogue.spec import DialogueInput, DialogueOptions
from zoo_cli.tasks.generative import PrefixTask, parse_request, special_ids_of
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.unified_transformer import UnifiedTransformerTokenizer

_ROLE_MARK = "\x01"


class DialogueTask(PrefixTask[DialogueExample]):
    """Replies in a dialogue. Answers are `zoo_cli.tasks.decoding_options.GenerationAnswer`."""

    name = "dialogue"
    main_score = "bleu_2"
    options: DialogueOptions
    tokenizer: UnifiedTransformerTokenizer

    def __init__(self, options: DialogueOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        if not isinstance(tokenizer, UnifiedTransformerTokenizer):
            raise UsageError(
                "wrong-tokenizer",
                "dialogue needs the tokenizer of UnifiedTransformer, not {name}",
                name=type(tokenizer).__name__,
            )

    @property
    def special_ids(self) -> dict[str, int]:
        return special_ids_of(self.tokenizer, {"bos_token": "cls_token", "eos_token": "sep_token"})

    # -- training and evaluation ------------------------------------------------------------------------------------

    def request_of(self, example: DialogueExample) -> dict[str, Any]:
        *history, text = example.history
        request: dict[str, Any] = {"text": text, "history": history}
        given = {"knowledge": example.knowledge, "persona": example.persona, "roles": example.roles}
        return request | {name: value for name, value in given.items() if value}

    def references(self, example: DialogueExample) -> list[str]:
        if not example.response:
            raise DataError("no-target", "the dialogue has no response", at=example.source)
        return [example.response]

    def encode(self, example: DialogueExample, training: bool) -> list[Feature]:
        (response,) = self.references(example)
        request = self.request(self.request_of(example))
        labelled = self.labelled(self._encode(request, self._room(), response))
        return [labelled] if training else [labelled, self.unmasked(self.prompt(request)[0])]

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> DialogueInput:
        request = parse_request(DialogueInput, value)
        turns = len(request.history) + 1
        if request.roles is not None and len(request.roles) != turns + 1:
            raise DataError(
                "role-count", "{found} roles for {expected} turns", found=len(request.roles), expected=turns + 1
            )
        return request

    def prompt(self, request: DialogueInput) -> tuple[Prompt, bool]:
        options = self.options
        room = self._room()
        if options.position_style == "continuous":
            room -= self.decoding(request.decoding).max_new_tokens
        prompt = self._encode(request, room, with_mask=True)
        whole = self._encode(request, 1 << 30)
        return prompt, len(whole["input_ids"]) > len(prompt["input_ids"])

    def _room(self) -> int:
        """Tokens for a dialogue; relative positions keep free those of the longest response."""
        return self.options.max_length - self.options.max_response_length * (self.options.position_style == "relative")

    def _encode(
        self, request: DialogueInput, limit: int, response: str | None = None, with_mask: bool = False
    ) -> dict[str, Any]:
        """Inputs of the turns, with the response or with the token that responses start with."""
        options = self.options
        turns = [turn.replace(_ROLE_MARK, " ") for turn in (*request.history, request.text)]
        response = response and response.replace(_ROLE_MARK, " ")
        if options.roles and request.roles is not None:
            *roles, last = request.roles
            turns = [f"{turn}{_ROLE_MARK}{role}" for turn, role in zip(turns, roles, strict=True)]
            response = response and f"{response}{_ROLE_MARK}{last}"
        return self.tokenizer.dialogue_encode(
            turns,
            response,
            " ".join([*request.knowledge, *request.persona]) or None,
            options.task_type,
            max_seq_len=limit,
            max_response_len=min(options.max_response_length, limit // 2),
            max_knowledge_len=min(options.max_knowledge_length, limit // 2),
            return_role_ids=options.roles,
            return_attention_mask=with_mask,
            add_start_token_as_response=True,
            is_split_into_words=options.segmented,
            position_style=options.position_style,
        )
