"""The card of a bundle: what it is, where it comes from, how good and how large it is, how to load and to serve it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_cli.base.files import read_json, write_text
from zoo_cli.export.receipt import provenance_lines, sizes, table
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.golden import read_golden
from zoo_cli.tasks.base import TASK_FILE

CARD = "README.md"
_LONGEST_EXAMPLE = 400
_UNKNOWN = "unknown"


def write_card(bundle: Path, receipt: Mapping[str, Any]) -> None:
    """Write the card of a bundle whose other files are there.

    Args:
        bundle: its folder.
        receipt: what was measured and compared, with what `zoo_cli.export.receipt.provenance` found.
    """
    write_text(bundle / CARD, card(bundle, receipt))


def card(bundle: Path, receipt: Mapping[str, Any]) -> str:
    """The card as Markdown, with the head that model hubs read; see `write_card`."""
    config, task = read_json(bundle / "config.json"), read_json(bundle / TASK_FILE)
    origin = receipt.get("origin", {})
    architecture = (config.get("architectures") or [config.get("model_type") or "a model"])[0]
    head = {
        "license": origin.get("licence", _UNKNOWN),
        "language": origin.get("language", _UNKNOWN),
        "library_name": "zoo-cli",
        "tags": [task["task"], architecture],
    }
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()),
        "---",
        "",
        f"# {architecture} for {task['task']}",
        "",
        *_about(task, origin, receipt),
        "## How to use it",
        "",
        *_usage(bundle),
        *provenance_lines(receipt),
        *_quantised(receipt),
        "## Size",
        "",
        *table(["file", "megabytes"], [(name, f"{size / 1e6:.2f}") for name, size in sizes(bundle).items()]),
        "## Proof",
        "",
        "`RECEIPT.md` says what was compared and measured when this bundle was made, `MANIFEST.json` has the SHA-256 of"
        " every file, and `zoo verify .` asks the golden requests again.",
        "",
    ]
    return "\n".join(lines)


def _about(task: Mapping[str, Any], origin: Mapping[str, Any], receipt: Mapping[str, Any]) -> list[str]:
    lines = []
    labels = task["options"].get("labels") or task["options"].get("schema")
    if labels:
        names = json.dumps(labels, ensure_ascii=False)
        lines.append(f"- What it tells apart or looks for: {names}")
    if origin.get("init"):
        source = f" ({origin['source']})" if origin.get("source") else ""
        lines.append(f"- Weights that training began with: `{origin['init']}`{source}")
    lines.append(f"- Licence: {origin.get('licence', 'not stated; ask those who made the weights and the data')}")
    lines.append(f"- Made by zoo {receipt['zoo']}")
    return [*lines, ""]


def _usage(bundle: Path) -> list[str]:
    golden = read_golden(bundle)
    graph = " or ".join(f"{backend} {precision}" for backend, precision in graphs(bundle))
    request = json.dumps(golden[0][0], ensure_ascii=False) if golden else '{"text": "..."}'
    if len(request) > _LONGEST_EXAMPLE:
        request = '{"text": "..."}'
    return [
        f"It has graphs for {graph}; PaddlePaddle is not needed for ONNX. With `pip install 'zoo-cli[serve]'`:",
        "",
        "```python",
        "from zoo_cli import runtime",
        "",
        'pipeline = runtime.load("path/of/this/folder")',
        f"print(pipeline({_python(request)}))",
        "```",
        "",
        "```sh",
        "zoo serve path/of/this/folder",
        "```",
        "",
    ]


def _python(request: str) -> str:
    """JSON as a Python literal."""
    return repr(json.loads(request))


def _quantised(receipt: Mapping[str, Any]) -> list[str]:
    """Scores before and after quantisation, of bundles that were quantised."""
    if "before" not in receipt:
        return []
    rows = [
        (name, f"{old:.4f}", f"{receipt['after'][name]:.4f}")
        for name, old in receipt["before"].items()
        if isinstance(old, float) and isinstance(receipt["after"].get(name), float)
    ]
    precision = receipt.get("precision", "integers")
    return [f"## Scores with {precision}", "", *table(["on the development set", "before", "after"], rows)]
