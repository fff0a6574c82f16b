"""What a compressed model must keep to."""

from __future__ import annotations

from zoo_cli.recipe.schema import GatesSection


def lost(metric: str, before: float, after: float) -> float:
    """How much worse a score has become: of ``loss`` less is better, of all others more."""
    return after - before if metric == "loss" else before - after


def breaches(
    gates: GatesSection, metric: str, before: float, after: float, size_ratio: float, speed_up: float
) -> list[str]:
    """The limits that a compressed model breaks, one sentence each.

    Args:
        gates: the recipe's limits.
        metric: name of the main score.
        before: that score of the uncompressed model on the development set.
        after: that of the compressed one.
        size_ratio: size of the graph as a share of the uncompressed one.
        speed_up: factor by which it is faster on the same back end.
    """
    found = []
    # Scores are ratios of counts, so a difference of exactly the limit must not fail by rounding.
    if not lost(metric, before, after) <= gates.metric_drop + 1e-9:
        way = "rises" if metric == "loss" else "falls"
        found.append(f"{metric} {way} from {before:.4f} to {after:.4f}; gates.metric_drop is {gates.metric_drop:g}")
    if gates.size_ratio is not None and size_ratio > gates.size_ratio:
        found.append(f"the graph has {size_ratio:.0%} of its size; gates.size_ratio is {gates.size_ratio:g}")
    if gates.speed_up is not None and speed_up < gates.speed_up:
        found.append(f"the graph is {speed_up:.2f} times as fast; gates.speed_up is {gates.speed_up:g}")
    return found
