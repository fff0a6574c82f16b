"""The name that somebody may have meant."""

from __future__ import annotations

from zoo_cli.base.names import closest


def test_the_closest_names_are_quoted_and_joined() -> None:
    known = ["uie/msra", "uie/mrsa", "bert/sst2"]
    assert closest("uie/msr", known) == "'uie/msra'"
    assert closest("uie/msra.", known, most=3) == "'uie/msra', 'uie/mrsa'"
    assert closest("xyz", known, most=3) is None
