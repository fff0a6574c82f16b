"""What holds for all tests: messages are English, whatever the locale of the machine."""

from __future__ import annotations

import os

os.environ["ZOO_LANG"] = "en"
