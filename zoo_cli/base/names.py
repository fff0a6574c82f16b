"""Names that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str], most: int = 1) -> str | None:
    """The known names that a wrong one resembles, for the fix of an error.

    Args:
        name: the wrong one.
        known: all that there are.
        most: how many to name.

    Returns:
        Such as ``'bert', 'ernie'``, or None where none comes near.
    """
    return ", ".join(map(repr, difflib.get_close_matches(name, list(known), n=most))) or None
