"""UNIMO-Text's tokenizer.

Source: "UNIMO: Towards Unified-Modal Understanding and Generation", Li et al. 2020, and PaddleNLP 2.8.1.
"""

from __future__ import annotations

from typing import Any, ClassVar

from zoo_cli.base.errors import UsageError
from zoo_cli.tokenizers.offsets import basic_normalize
from zoo_cli.tokenizers.prefix_lm import prefix_inputs
from zoo_cli.tokenizers.wordpiece import WordPieceTokenizer


class UNIMOTokenizer(WordPieceTokenizer):
    """UNIMO's tokenizer: WordPiece on a `vocab.txt` whose lines may carry their id after a tab.

    It differs from ERNIE's in that words, not texts, are lower-cased (a Greek matter), and in PaddleNLP's offsets.
    """

    vocabulary_has_ids: ClassVar[bool] = True
    lowers_per_word: ClassVar[bool] = True

    def offsets(self, text: str) -> list[tuple[int, int]]:
        normalized, places = basic_normalize(text, lower=False)
        return self._search(text, normalized, places, lower=False)

    def gen_encode(
        self,
        source: str,
        title: str | None = None,
        target: str | None = None,
        max_seq_len: int = 512,
        max_target_len: int = 128,
        max_title_len: int = 128,
        return_position_ids: bool = True,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_length: bool = False,
        add_start_token_for_decoding: bool = False,
        pad_to_max_seq_len: bool = False,
        continuous_position: bool = False,
    ) -> dict[str, Any]:
        """Inputs for generation: [CLS] (title [SEP]) source [SEP] and, if given, [CLS] target [MASK].

        Args:
            source: text to generate from; cut so that all fits.
            title: text in front of it, for instance the answer to ask a question about.
            target: text to learn.
            max_seq_len, max_target_len, max_title_len: most tokens of all, the target and the title, [SEP], [MASK] and
                the target's [CLS] included.
            return_position_ids, return_token_type_ids, return_attention_mask, return_length: fields to give.
            add_start_token_for_decoding: end with the [CLS] that generation starts from, if there is no target.
            pad_to_max_seq_len: pad on the left.
            continuous_position: positions of the target follow those of the source instead of starting at 0.

        Returns:
            See `prefix_inputs`.

        Raises:
            UsageError: title and target leave no room for the source.
        """
        texts = [source, *(text for text in (title, target) if text)]
        pieces = self.encode_pieces(texts)
        ends = pieces.counts.cumsum().tolist()
        ids = iter(pieces.ids[end - count : end].tolist() for end, count in zip(ends, pieces.counts, strict=True))
        source_ids = next(ids)
        sep = self.sep_token_id
        prompt = [self.cls_token_id]
        if title:
            prompt += [*next(ids)[: max_title_len - 1], sep]
        answer: list[int] = []
        if target:
            answer = [*[self.cls_token_id, *next(ids)][: max_target_len - 1], self.mask_token_id]
        elif add_start_token_for_decoding:
            answer = [self.cls_token_id]
        room = max_seq_len - len(prompt) - len(answer)
        if room < 1:
            raise UsageError("max-length", "max_seq_len {limit} leaves no room for the source", limit=max_seq_len)
        prompt += [*source_ids[: room - 1], sep]
        positions = list(range(len(prompt) + len(answer)))
        if not continuous_position:
            positions = [*range(len(prompt)), *range(len(answer))]
        return prefix_inputs(
            prompt,
            answer,
            positions,
            self.pad_token_id,
            max_seq_len if pad_to_max_seq_len else None,
            with_types=return_token_type_ids,
            with_positions=return_position_ids,
            with_mask=return_attention_mask,
            with_length=return_length,
        )
