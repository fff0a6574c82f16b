"""The folders of YAML files that are shipped beside the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import zoo_cli
from zoo_cli.base.errors import PlatformError


@cache
def resource_folder(name: str) -> Path:
    """The folder `configs` or `recipes`.

    Installed, they are the packages `zoo_cli.configs` and `zoo_cli.recipes`; in a checkout they lie beside `zoo_cli`.

    Raises:
        PlatformError: the installation lacks the folder (`broken-installation`).
    """
    root = Path(zoo_cli.__file__).parent.parent
    if (root / "setup.cfg").is_file() and (root / name).is_dir():
        return root / name
    try:
        return Path(str(files(f"zoo_cli.{name}")))
    except ModuleNotFoundError as error:
        raise PlatformError(
            "broken-installation", "the installation has no folder {name}", fix="install zoo-cli again", name=name
        ) from error


SAMPLE = "sample:"


def locate(name: str) -> Path:
    """The file or folder of that name; ``sample:NAME`` is one of the samples that come with the package.

    Raises:
        PlatformError: there is no such sample (`broken-installation`).
    """
    if not name.startswith(SAMPLE):
        return Path(name)
    path = Path(zoo_cli.__file__).parent / "data" / "samples" / name.removeprefix(SAMPLE)
    if not path.exists():
        raise PlatformError(
            "broken-installation", "the installation has no {name}", fix="install zoo-cli again", name=name
        )
    return path
