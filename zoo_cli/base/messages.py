"""Message templates in the user's language.

The English template is the key, so code reads naturally and an untranslated message still appears, in English. The
Chinese texts are in `configs/messages/zh`, one file for each package.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any


def language() -> str:
    """``"zh"`` or ``"en"``: `ZOO_LANG`, else the locale as POSIX reads it (`LC_ALL`, `LC_MESSAGES`, `LANG`)."""
    for variable in ("ZOO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if chosen := os.environ.get(variable):
            return "zh" if chosen.lower().startswith("zh") else "en"
    return "en"


def read_texts(kind: str) -> dict[str, Any]:
    """All files of one folder of `configs/messages`, put together."""
    import yaml

    # Imported here because it lies above this module, and reads messages itself where something is wrong.
    from zoo_cli.base.resources import resource_folder

    texts: dict[str, Any] = {}
    for path in sorted((resource_folder("configs") / "messages" / kind).glob("*.yaml")):
        texts |= yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    return texts


@cache
def catalogue() -> dict[str, str]:
    """English template -> Chinese template."""
    return read_texts("zh")


def translate(template: str) -> str:
    """The template in the current language, or unchanged where there is no translation."""
    return catalogue().get(template, template) if language() == "zh" else template
