"""Text generation with prefix language models: Unified Language Model Pre-training, Dong et al. 2019.

The encodings are those of PaddleNLP's `gen_encode` (UNIMO-Text) and `dialogue_encode` (UnifiedTransformer, which reads
the text as a turn and the title as knowledge).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import TextExample
from zoo_cli.decoding.engine import Prompt
from zoo_cli.tasks.base import Feature
from zoo_cli.tasks.generation.spec import GenerationInput, GenerationTaskOptions
from zoo_cli.tasks.generative import PrefixTask, parse_request, special_ids_of
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.unified_transformer import UnifiedTransformerTokenizer
from zoo_cli.tokenizers.unimo import UNIMOTokenizer

_WHOLE = 1 << 30
"""A limit that no text reaches."""


class GenerationTask(PrefixTask[TextExample]):
    """A text written for a text. Answers are `zoo_cli.tasks.decoding_options.GenerationAnswer`."""

    name = "generation"
    main_score = "bleu_4"
    options: GenerationTaskOptions

    def __init__(self, options: GenerationTaskOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        if not isinstance(tokenizer, UNIMOTokenizer | UnifiedTransformerTokenizer):
            raise UsageError(
                "wrong-tokenizer",
                "text generation needs the tokenizer of UNIMO or UnifiedTransformer, not {name}",
                name=type(tokenizer).__name__,
            )

    @property
    def special_ids(self) -> dict[str, int]:
        # Answers start with [CLS]. UNIMO's end with [MASK], UnifiedTransformer's with [SEP].
        end = "mask_token" if isinstance(self.tokenizer, UNIMOTokenizer) else "sep_token"
        return special_ids_of(self.tokenizer, {"bos_token": "cls_token", "eos_token": end})

    # -- training and evaluation ------------------------------------------------------------------------------------

    def request_of(self, example: TextExample) -> dict[str, Any]:
        title = {} if example.text_pair is None else {"title": example.text_pair}
        return {"text": example.text, **title}

    def references(self, example: TextExample) -> list[str]:
        label = example.label
        targets = [label] if isinstance(label, str) else label if isinstance(label, list) else []
        if not targets:
            raise DataError("no-target", "the row has no text to write", at=example.source)
        return targets

    def encode(self, example: TextExample, training: bool) -> list[Feature]:
        request, targets = self.request(self.request_of(example)), self.references(example)
        features = [self.labelled(self._encode(request, self.options.max_length, target)) for target in targets]
        return features if training else [features[0], self.unmasked(self.prompt(request)[0])]

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> GenerationInput:
        return parse_request(GenerationInput, value)

    def prompt(self, request: GenerationInput) -> tuple[Prompt, bool]:
        room = self.options.max_length
        if isinstance(self.tokenizer, UnifiedTransformerTokenizer) or self.options.continuous_position:
            room -= self.decoding(request.decoding).max_new_tokens
        prompt = self._encode(request, room, with_mask=True)
        whole = self._encode(request, _WHOLE)
        return prompt, len(whole["input_ids"]) > len(prompt["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        text, prefix = super().text(ids), self.options.target_prefix
        return "" if prefix.startswith(text) else text.removeprefix(prefix)  # while streaming, the prefix may be begun

    def _encode(
        self, request: GenerationInput, limit: int, target: str | None = None, with_mask: bool = False
    ) -> dict[str, Any]:
        """Inputs of a request, with its answer or with the token that answers start with."""
        options, source, title = self.options, request.text, request.title
        if options.source_template is not None:
            source, title = options.source_template.format(text=source, title=title or ""), None
        if target is not None:
            target = options.target_prefix + target
        title_length = min(options.max_title_length, limit // 2) if limit < _WHOLE else _WHOLE
        if isinstance(self.tokenizer, UNIMOTokenizer):
            return self.tokenizer.gen_encode(
                source,
                title,
                target,
                max_seq_len=limit,
                max_target_len=min(options.max_target_length, limit // 2),
                max_title_len=title_length,
                return_attention_mask=with_mask,
                add_start_token_for_decoding=True,
                continuous_position=options.continuous_position,
            )
        assert isinstance(self.tokenizer, UnifiedTransformerTokenizer)
        return self.tokenizer.dialogue_encode(
            source,
            target,
            title,
            max_seq_len=limit,
            max_response_len=min(options.max_target_length, limit // 2),
            max_knowledge_len=title_length,
            return_attention_mask=with_mask,
            add_start_token_as_response=True,
            is_split_into_words=False,
        )
