"""`zoo weights convert`: a model folder in another layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

from zoo_cli import models, registry
from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import atomic_folder, write_manifest
from zoo_cli.engine.setup import find_model_folder, load_tokenizer
from zoo_cli.models.checkpoint import Layout
from zoo_cli.tasks.base import TASK_FILE


def convert_folder(source: Path, target: Path, layout: str, architecture: str | None = None) -> dict[str, Any]:
    """Read a model folder of any layout and write it in another, tokenizer and task included.

    Args:
        source: model folder or run folder.
        target: folder to write; replaced if it is there.
        layout: ``zoo``, ``paddlenlp`` or ``huggingface``.
        architecture: class to read it as, where the folder does not say.

    Returns:
        The class, the number of tensors, and what did not fit.

    Raises:
        ArtifactError: the source cannot be read.
        UsageError: there is no such layout, or it has no such model.
    """
    if layout not in get_args(Layout):
        raise UsageError(
            "unknown-layout",
            "there is no layout {name!r}",
            fix="choose one of: {names}",
            name=layout,
            names=", ".join(get_args(Layout)),
        )
    source = find_model_folder(source)
    model = models.load(source, architecture)
    tokenizer = load_tokenizer(source, registry.family(model.config.family).tokenizer)
    with atomic_folder(target) as partial:
        models.save(model, partial, layout)  # type: ignore[arg-type]  # checked above
        tokenizer.save(partial)
        if (source / TASK_FILE).is_file():
            shutil.copyfile(source / TASK_FILE, partial / TASK_FILE)
        if layout == "zoo":
            write_manifest(partial)
    report = model.load_report
    return {
        "target": str(target),
        "layout": layout,
        "architecture": model.config.architecture,
        "tensors": len(model.state_dict()),
        "missing": list(report.missing) if report else [],
        "unexpected": list(report.unexpected) if report else [],
    }
