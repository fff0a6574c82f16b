"""Which tokens a masked language model has to guess, and what it sees in their place.

Batches are arrays [B, S]; every random choice is a function of the row's key (`zoo_cli.data.corpus.draws`).

Sources: whole words and n-grams as in ERNIE (Sun et al., 2019) and ALBERT (Lan et al., 2019), in PaddleNLP's variant;
80/10/10 as in BERT (Devlin et al., 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo_cli.data.corpus.draws import hashes, integers, uniforms
from zoo_cli.recipe.schema import MaskingSection

_ORDER, _SIZE, _KEEP, _KIND, _TOKEN, _SHUFFLE = range(6)
"""What a random number is for."""

_GEOMETRIC = 0.2
_MASKED, _KEPT = 0.8, 0.5


@dataclass(frozen=True)
class Words:
    """The words of a batch, W in all, in the order of rows; M tokens belong to one.

    Args:
        rows: row of each word, int64 [W].
        numbers: number of each word in its row, int64 [W].
        first: number of tokens before each word and of all, int64 [W + 1].
        bounds: number of words before each row and of all, int64 [B + 1].
        token_rows, token_columns: where each token of a word is, int64 [M].
    """

    rows: np.ndarray
    numbers: np.ndarray
    first: np.ndarray
    bounds: np.ndarray
    token_rows: np.ndarray
    token_columns: np.ndarray

    def tokens_of(self, chosen: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Which tokens belong to the chosen words (bool [W]), as bool [B, S]."""
        tokens = np.zeros(shape, bool)
        tokens[self.token_rows, self.token_columns] = np.repeat(chosen, np.diff(self.first))
        return tokens


def find_words(continues: np.ndarray, maskable: np.ndarray) -> Words:
    """The words of a batch: tokens that may be masked with all that continue them.

    Args:
        continues: whether a token continues the one before it, bool [B, S]. The first one behind a token that may not
            be masked begins a word in any case.
        maskable: which tokens may be masked: no special tokens, no padding; bool [B, S].
    """
    begins = maskable & ~continues
    begins[:, 1:] |= maskable[:, 1:] & ~maskable[:, :-1]
    begins[:, 0] = maskable[:, 0]
    token_rows, token_columns = np.nonzero(maskable)
    is_first = begins[token_rows, token_columns]
    rows = token_rows[is_first]
    first = np.append(np.flatnonzero(is_first), len(token_rows))
    bounds = np.searchsorted(rows, np.arange(len(maskable) + 1))
    return Words(rows, np.arange(len(rows)) - bounds[rows], first, bounds, token_rows, token_columns)


def choose_spans(
    words: Words, keys: np.ndarray, budgets: np.ndarray, options: MaskingSection, taken: np.ndarray | None = None
) -> np.ndarray:
    """Choose n-grams of words until each row has its number of tokens.

    Words are tried as first ones in random order. The length n of an n-gram has the probability 1 / n (or what the
    options say); words at its end are dropped as long as it has more tokens than are wanted, and it is skipped if it
    cannot be made short enough or has a word that is taken.

    Args:
        words: of the batch.
        keys: of the rows, uint64 [B].
        budgets: tokens wanted of each row, int64 [B]; fewer are chosen where words do not fit.
        options: of the masking.
        taken: words that are not to be chosen, bool [W].

    Returns:
        First word and word behind the last of each n-gram, int64 [n, 2].
    """
    word_keys = keys[words.rows]
    order = np.lexsort((uniforms(hashes(word_keys, _ORDER), words.numbers), words.rows)).tolist()
    sizes = _span_sizes(uniforms(hashes(word_keys, _SIZE), words.numbers), options).tolist()
    first, bounds = words.first.tolist(), words.bounds.tolist()
    covered = bytearray(len(words.rows)) if taken is None else bytearray(taken.astype(np.uint8).tobytes())
    spans: list[tuple[int, int]] = []
    # The choices of a row depend on each other, but a row needs few: this loop is a tenth of the work on a batch.
    for row, left in enumerate(budgets.tolist()):
        last = bounds[row + 1]
        for start in order[bounds[row] : last]:
            if left <= 0:
                break
            stop = min(start + sizes[start], last)
            while stop > start and first[stop] - first[start] > left:
                stop -= 1
            if stop > start and 1 not in covered[start:stop]:
                covered[start:stop] = b"\1" * (stop - start)
                left -= first[stop] - first[start]
                spans.append((start, stop))
    return np.array(spans, np.int64).reshape(-1, 2)


def _span_sizes(drawn: np.ndarray, options: MaskingSection) -> np.ndarray:
    """Numbers of words from uniform random numbers."""
    if options.geometric:
        sizes = 1 + np.floor(np.log1p(-drawn) / np.log(1 - _GEOMETRIC)).astype(np.int64)
        return np.minimum(sizes, options.max_ngrams)
    weights = 1.0 / np.arange(1, options.max_ngrams + 1)
    if options.favor_longer_ngram:
        weights = weights[::-1]
    return 1 + np.searchsorted(np.cumsum(weights)[:-1] / weights.sum(), drawn, side="right")


def budgets(lengths: np.ndarray, options: MaskingSection) -> np.ndarray:
    """How many tokens to mask in texts of these lengths, special tokens included, int64 [B]."""
    wanted = np.maximum(1, np.rint(lengths * options.masked_lm_prob).astype(np.int64))
    if options.max_predictions is not None:
        wanted = np.minimum(wanted, options.max_predictions)
    return wanted if options.masked_lm_prob else np.zeros_like(wanted)


def mask(
    ids: np.ndarray,
    continues: np.ndarray,
    maskable: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    options: MaskingSection,
    mask_id: int,
    vocabulary: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask a batch.

    Args:
        ids: plain token ids, int64 [B, S].
        continues: which tokens continue a word, bool [B, S]; ignored unless `whole_word`.
        maskable: which tokens may be masked, bool [B, S].
        lengths: number of tokens of each row without padding, int64 [B].
        keys: of the rows, uint64 [B].
        options: of the masking.
        mask_id: id of the mask token.
        vocabulary: ids that random tokens are drawn from, int64 [V].

    Returns:
        What the model sees, int64 [B, S], and which tokens it has to guess, bool [B, S].
    """
    words = find_words(continues if options.whole_word else np.zeros_like(continues), maskable)
    if options.independent:
        drawn = uniforms(hashes(keys[words.rows], _KEEP), words.numbers)
        chosen = words.tokens_of(drawn < options.masked_lm_prob, ids.shape)
    else:
        wanted = budgets(lengths, options)
        covered = _covered(words, choose_spans(words, keys, wanted, options))
        chosen = words.tokens_of(covered, ids.shape)
    seen = _replace(ids, chosen, lengths, keys, options, mask_id, vocabulary)
    if options.permutation:
        moved = _covered(words, choose_spans(words, hashes(keys, _SHUFFLE), wanted, options, taken=covered))
        chosen |= _shuffle(seen, words.tokens_of(moved, ids.shape), keys)
    return seen, chosen


def _covered(words: Words, spans: np.ndarray) -> np.ndarray:
    """Which words are in one of the spans, which do not overlap, bool [W]."""
    steps = np.zeros(len(words.rows) + 1, np.int64)
    steps[spans[:, 0]] += 1
    np.add.at(steps, spans[:, 1], -1)
    covered: np.ndarray = np.cumsum(steps)[:-1] > 0
    return covered


def _replace(
    ids: np.ndarray,
    chosen: np.ndarray,
    lengths: np.ndarray,
    keys: np.ndarray,
    options: MaskingSection,
    mask_id: int,
    vocabulary: np.ndarray,
) -> np.ndarray:
    """Put the mask token, random tokens or nothing in the place of the chosen ones."""
    seen = ids.copy()
    rows, columns = np.nonzero(chosen)
    if options.style == "t5":
        seen[rows, columns] = mask_id
        return seen
    own = keys[rows]
    masked = uniforms(hashes(own, _KIND), 2 * columns) < _MASKED
    random = ~masked & (uniforms(hashes(own, _KIND), 2 * columns + 1) >= _KEPT)
    seen[rows[masked], columns[masked]] = mask_id
    rows, columns, own = rows[random], columns[random], hashes(own[random], _TOKEN)
    if options.random_from == "sequence":
        seen[rows, columns] = ids[rows, integers(own, columns, lengths[rows])]
    else:
        seen[rows, columns] = vocabulary[integers(own, columns, len(vocabulary))]
    return seen


def _shuffle(seen: np.ndarray, moved: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Exchange the tokens in some places of each row among each other; returns the places."""
    rows, columns = np.nonzero(moved)
    order = np.lexsort((uniforms(hashes(keys[rows], _SHUFFLE), columns), rows))
    seen[rows, columns] = seen[rows, columns[order]]
    return moved
