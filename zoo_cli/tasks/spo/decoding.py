"""From scores of starts, ends and relations to triples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo_cli.tasks.base import Outputs
from zoo_cli.tasks.features import Window
from zoo_cli.tasks.scores import sigmoid

MOST_TRIPLES = 1000
"""Relations of one text that are looked at, the likeliest: far more than a text has, but untrained models see more."""


class Triple(NamedTuple):
    """A relation in characters.

    Args:
        subject: offsets of its first character and after its last one.
        predicate: number of the predicate.
        object: offsets as of the subject.
    """

    subject: tuple[int, int]
    predicate: int
    object: tuple[int, int]


def logit(probability: float) -> float:
    """The logit whose sigmoid is the probability; infinite for 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def condense(entity_logits: np.ndarray, relation_logits: np.ndarray, threshold: float) -> Outputs:
    """Keep what can become a triple; all scores of a text are C x S x S numbers.

    Args:
        entity_logits: of each token being the first and the last of an entity, [S, 2].
        relation_logits: of relation c between entities that start at tokens i and j, [C, S, S].
        threshold: logit that starts and relations must exceed.

    Returns:
        ``entity_logits``; ``relations`` int64 [n, 3] with predicate and both starts, and their ``logits`` [n].
    """
    starts = np.flatnonzero(entity_logits[:, 0] > threshold)
    scores = relation_logits[:, starts][:, :, starts]  # [C, K, K]
    predicates, subjects, objects = np.nonzero(scores > threshold)
    logits = scores[predicates, subjects, objects]
    if len(logits) > MOST_TRIPLES:
        kept = np.sort(np.argpartition(-logits, MOST_TRIPLES)[:MOST_TRIPLES])
        predicates, subjects, objects, logits = predicates[kept], subjects[kept], objects[kept], logits[kept]
    relations = np.stack([predicates, starts[subjects], starts[objects]], axis=1).astype(np.int64)
    return {"entity_logits": entity_logits, "relations": relations, "logits": logits}


def decode(window: Window, output: Outputs, threshold: float) -> dict[Triple, float]:
    """Triples in one window, with the probability of each relation.

    An entity goes from its start to the nearest end. Starts and ends among special tokens do not count, nor does what
    would be a relation of an entity to itself.

    Args:
        window: the tokens.
        output: as `condense` returns it.
        threshold: logit that ends must exceed.
    """
    first, last = window.place, window.place + window.stop - window.start
    ends = first + np.flatnonzero(output["entity_logits"][first:last, 1] > threshold)
    offsets = window.encoding.offsets

    def span(start: int) -> tuple[int, int] | None:
        place = int(np.searchsorted(ends, start))
        if not first <= start < last or place == len(ends):
            return None
        return int(offsets[start, 0]), int(offsets[ends[place], 1])

    found = {}
    probabilities = sigmoid(output["logits"]).tolist()
    for (predicate, left, right), probability in zip(output["relations"].tolist(), probabilities, strict=True):
        subject, object_ = span(left), span(right)
        if subject is not None and object_ is not None and subject != object_:
            found[Triple(subject, predicate, object_)] = probability
    return found
