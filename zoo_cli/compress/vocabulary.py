"""Smaller tables of tokens and positions: most of a small Chinese model is its vocabulary, which few texts use.

The rows that stay are those that were there, so texts whose tokens are all kept get the same answers. Others fall back
on shorter pieces or on the unknown token.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from zoo_cli import models
from zoo_cli.base.errors import UsageError
from zoo_cli.models.base import Model
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.ernie_m import ErnieMTokenizer
from zoo_cli.tokenizers.wordpiece import WordPieceTokenizer


def frequent_tokens(tokenizer: Tokenizer, texts: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Ids that a smaller vocabulary keeps, ascending: special tokens, then those that occur most often.

    Ties go to the lower id; where fewer tokens occur than are kept, the first of the others fill up.

    Args:
        tokenizer: the tokenizer.
        texts: token ids of the texts that count.
        size: number of tokens that are kept.

    Raises:
        UsageError: the tokenizer is of another kind than WordPiece or ERNIE-M's (`not-prunable`), or the vocabulary is
            not larger than `size` (`vocabulary-size`).
    """
    if not isinstance(tokenizer, WordPieceTokenizer | ErnieMTokenizer):
        raise _not_prunable(tokenizer)
    counts = np.full(len(tokenizer), -1, np.int64)  # ids may have gaps
    counts[[*tokenizer.vocab.values(), *tokenizer.added_tokens.values()]] = 0
    for ids in texts:
        np.add.at(counts, ids, 1)
    special = [tokenizer.convert_token_to_id(token) for token in tokenizer.all_special_tokens]
    counts[special] = np.iinfo(np.int64).max
    if not len(set(special)) <= size <= int((counts >= 0).sum()):
        raise UsageError(
            "vocabulary-size",
            "a vocabulary of {total} tokens cannot be cut down to {size}",
            fix="set prune.vocabulary to less",
            total=len(tokenizer),
            size=size,
        )
    return np.sort(np.argsort(-counts, kind="stable")[:size])


def subset(tokenizer: Tokenizer, tokens: np.ndarray) -> Tokenizer:
    """A tokenizer that has only these tokens, numbered anew; see its own `subset`.

    Raises:
        UsageError: the tokenizer is of another kind than WordPiece or ERNIE-M's (`not-prunable`).
    """
    if not isinstance(tokenizer, WordPieceTokenizer | ErnieMTokenizer):
        raise _not_prunable(tokenizer)
    return tokenizer.subset(tokens.tolist())


def _not_prunable(tokenizer: Tokenizer) -> UsageError:
    return UsageError(
        "not-prunable",
        "the vocabulary of {name} cannot be pruned",
        fix="remove prune.vocabulary; vocabularies of WordPiece and of ERNIE-M can be pruned",
        name=type(tokenizer).__name__,
    )


def cut_tables(model: Model, tokens: np.ndarray | None, positions: int | None) -> Model:
    """The model with fewer tokens and positions.

    Args:
        model: stays as it is.
        tokens: ids that are kept, ascending; None keeps all.
        positions: how many positions are kept; None keeps all.

    Raises:
        UsageError: the model has fewer positions (`positions`).
    """
    config = model.config
    if positions is not None and positions > config.max_position_embeddings:
        raise UsageError(
            "positions",
            "the model has {there} positions, {positions} cannot be kept",
            there=config.max_position_embeddings,
            positions=positions,
        )
    changes: dict[str, int] = {}
    if tokens is not None:
        pad = np.flatnonzero(tokens == config.pad_token_id)
        changes |= {"vocab_size": len(tokens), "pad_token_id": int(pad[0])}
    if positions is not None:
        changes["max_position_embeddings"] = positions
    smaller = models.build(str(config.architecture), {**config.as_dict(), **changes})
    wanted = {name: parameter.shape for name, parameter in smaller.state_dict().items()}
    weights = {}
    for name, parameter in model.state_dict().items():
        value = parameter.numpy()
        rows = np.arange(positions) if positions is not None and "position_embeddings" in name else tokens
        for axis, (before, after) in enumerate(zip(value.shape, wanted[name], strict=True)):
            if before != after and rows is not None:
                value = np.take(value, rows, axis=axis)
        weights[name] = value
    models.load_weights(smaller, weights)
    smaller.eval()
    return smaller
