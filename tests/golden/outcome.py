"""What the replay of one case found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "differs", "not supported", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """Result of one case.

    Args:
        name: of the case.
        status: ``skipped`` is for cases whose external weights are not installed.
        compared: number of values that were compared.
        difference: the largest one, where values are numbers.
        detail: what differs, or why nothing was compared.
    """

    name: str
    status: Status
    compared: int = 0
    difference: float | None = None
    detail: str = ""

    def __str__(self) -> str:
        difference = "" if self.difference is None else f"largest difference {self.difference:.3g}"
        count = f"{self.compared} compared" if self.compared > 1 else ""
        return "  ".join(part for part in (self.name, self.status, count, difference, self.detail) if part)
