"""From logits of the first and last token of an answer to answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo_cli.tasks.base import Outputs
from zoo_cli.tasks.features import Window


@dataclass(frozen=True, slots=True)
class Candidate:
    """A piece of the text as answer.

    Args:
        start: offset of its first character.
        end: offset after its last one.
        logit: sum of the logits of its first and its last token.
    """

    start: int
    end: int
    logit: float


def best_spans(start_logits: np.ndarray, end_logits: np.ndarray, n_best: int, longest: int) -> list[tuple[int, int]]:
    """The spans with the highest sums of logits, the best first; among equals the earlier, then the shorter one.

    All spans are compared, not only those between likely starts and likely ends.

    Args:
        start_logits: [T], of each token being the first.
        end_logits: [T], of each token being the last.
        n_best: most spans.
        longest: most tokens of a span.

    Returns:
        (first token, last token) of each span.
    """
    count = len(start_logits)
    longest = min(longest, count)
    if not longest:
        return []
    ends = np.concatenate([end_logits.astype(np.float64), np.full(longest - 1, -np.inf)])
    sums = (start_logits.astype(np.float64)[:, None] + np.lib.stride_tricks.sliding_window_view(ends, longest)).ravel()
    n_best = min(n_best, len(sums))
    likely = np.flatnonzero(sums >= np.partition(sums, -n_best)[-n_best])
    likely = likely[np.argsort(-sums[likely], kind="stable")][:n_best]
    starts, lengths = np.divmod(likely[np.isfinite(sums[likely])], longest)
    return list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True))


def candidates(
    windows: Sequence[Window], outputs: Sequence[Outputs], n_best: int, longest: int
) -> tuple[list[Candidate], float]:
    """The best answers in all windows, and the logit of there being none.

    Args:
        windows: windows over the text.
        outputs: of each window ``start_logits`` and ``end_logits`` [S].
        n_best: most answers.
        longest: most tokens of an answer.

    Returns:
        Different answers, the best first (perhaps none), and the least sum of the logits of the first special token
        over the windows, which SQuAD 2.0 takes as the score of having no answer.
    """
    found: dict[tuple[int, int], float] = {}
    null = np.inf
    for window, output in zip(windows, outputs, strict=True):
        first, last = output["start_logits"], output["end_logits"]
        special = int(window.encoding.special_tokens_mask.argmax())
        null = min(null, float(first[special]) + float(last[special]))
        text = slice(window.place, window.place + window.stop - window.start)
        offsets = window.encoding.offsets[text]
        for left, right in best_spans(first[text], last[text], n_best, longest):
            place = int(offsets[left, 0]), int(offsets[right, 1])
            if place[0] < place[1]:
                logit = float(first[text][left]) + float(last[text][right])
                found[place] = max(found.get(place, -np.inf), logit)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:n_best]
    return [Candidate(start, end, logit) for (start, end), logit in ranked], null
