"""What each error code means, for `zoo explain`; the texts are in `configs/messages/codes`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from zoo_cli.base.errors import UsageError
from zoo_cli.base.messages import language, read_texts
from zoo_cli.base.names import closest


@dataclass(frozen=True)
class Explanation:
    """One error code.

    Args:
        code: its name.
        exit_codes: what a command ends with that fails with it; none for mere warnings.
        status: HTTP status with which the server sends it, or None for codes that are not the server's own.
        texts: language -> ``cause`` and ``fix``.
    """

    code: str
    exit_codes: tuple[int, ...]
    status: int | None
    texts: dict[str, dict[str, str]]

    @property
    def cause(self) -> str:
        """What happened, in the user's language."""
        return self.texts[language()]["cause"]

    @property
    def fix(self) -> str:
        """What to do about it, in the user's language."""
        return self.texts[language()]["fix"]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`, in English."""
        return {"code": self.code, "exit_codes": [*self.exit_codes], "status": self.status, **self.texts["en"]}


@cache
def explanations() -> dict[str, Explanation]:
    """All codes, sorted."""
    entries = read_texts("codes")
    return {
        code: Explanation(code, tuple(entry.pop("exit", ())), entry.pop("status", None), entry)
        for code, entry in sorted(entries.items())
    }


def explain(code: str) -> Explanation:
    """The explanation of a code.

    Raises:
        UsageError: no error has this code (`unknown-error`).
    """
    known = explanations()
    if code not in known:
        near = closest(code, known)
        raise UsageError(
            "unknown-error",
            "there is no error {name!r}",
            fix="did you mean {near}?" if near else "`zoo explain` lists all codes",
            name=code,
            near=near,
        )
    return known[code]
