"""Message templates in the user's language.

The English template is the key, so code reads naturally and an untranslated message still appears, in English.
"""

from __future__ import annotations

import os

_CHINESE: dict[str, str] = {}


def language() -> str:
    """``"zh"`` or ``"en"``, from `ZOO_LANG`, else from the locale."""
    chosen = os.environ.get("ZOO_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or "en"
    return "zh" if chosen.lower().startswith("zh") else "en"


def translate(template: str) -> str:
    """The template in the current language, or unchanged where there is no translation."""
    return _CHINESE.get(template, template) if language() == "zh" else template
