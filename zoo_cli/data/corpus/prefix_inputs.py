"""Batches for prefix language models: a text with gaps that all tokens see, then its continuation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo_cli.data.corpus.draws import hashes
from zoo_cli.data.corpus.inputs import MASKING, Arrays, Located, SentenceInputs
from zoo_cli.data.corpus.masking import mask
from zoo_cli.data.corpus.samples import SentenceSamples
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer
from zoo_cli.tokenizers.unimo import UNIMOTokenizer


def end_token(tokenizer: Tokenizer) -> str:
    """Name of the token that ends a generated text: UNIMO's is its mask token, UnifiedTransformer's the separator."""
    return "mask_token" if isinstance(tokenizer, UNIMOTokenizer) else "sep_token"


class PrefixInputs(SentenceInputs):
    """[CLS] masked text [SEP] [CLS] continuation: sentences that follow each other, parted behind a random one.

    Args:
        parts: the corpora's samples, each of two sentences or more.
        tokenizer: that of the corpora.
        options: masking and lengths.
    """

    def __init__(
        self, parts: Sequence[SentenceSamples], tokenizer: PretrainedTokenizer, options: PretrainSection
    ) -> None:
        super().__init__(parts, tokenizer, options)
        self._end = tokenizer.special_token_id(end_token(tokenizer))

    def load(self, rows: Located) -> Arrays:
        """The batch of these rows.

        Returns:
            ``input_ids``, ``token_type_ids`` (1 in the continuation) and ``position_ids`` (from 0 again in it) [B, S];
            ``attention_mask`` [B, 1, S, S], 1 where a token (third axis) sees another one; ``masked_positions``,
            ``labels`` and ``continues`` [n]: place (row * S + column) and id of each token to guess, and whether it is
            one of the continuation.
        """
        segments = self._segments(rows)
        ids, types, lengths = self._assemble(segments)
        column = np.arange(ids.shape[1])
        prefix = segments.counts[0] + 2  # tokens before the continuation, [B]
        first, last = prefix[:, None], lengths[:, None] - 1
        real = column <= last
        answer = real & (column >= first)
        plain, joined = self._forms.plain[ids], self._forms.continues[ids]

        maskable = real & ~answer & (ids != self._cls) & (ids != self._sep)
        keys = hashes(hashes(rows.keys, MASKING), 0)
        masking = self._options.masking
        seen, gaps = mask(plain, joined, maskable, prefix, keys, masking, self._mask, self._vocabulary)

        # A token of the continuation is guessed where the one before it is read, the first one at a [CLS].
        labels = np.where(column == last, self._end, plain)
        before = np.where(column == first, self._cls, np.roll(plain, 1, axis=1))
        places = np.flatnonzero(gaps | answer)
        earlier = column[None, :] <= column[:, None]  # [S, S]
        visible = np.where(answer[:, :, None], earlier, (column < first)[:, None, :])
        return {
            "input_ids": np.where(answer, before, seen),
            "token_type_ids": types,
            "position_ids": np.where(answer, column - first, np.where(real, column, 0)),
            "attention_mask": (visible & real[:, :, None] & real[:, None, :]).astype(np.int64)[:, None],
            "masked_positions": places,
            "labels": labels.reshape(-1)[places],
            "continues": answer.reshape(-1)[places].astype(np.int64),
        }

    def tokens(self, batch: Arrays) -> int:
        return int(np.diagonal(batch["attention_mask"][:, 0], axis1=1, axis2=2).sum())
