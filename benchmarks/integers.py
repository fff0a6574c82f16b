"""Bundles with integer graphs for measurements of time, which need no trained weights and no data."""

from __future__ import annotations

import shutil
from pathlib import Path

from zoo_cli.base.files import write_manifest
from zoo_cli.compress.routes import route_class
from zoo_cli.export.parity import random_batch
from zoo_cli.recipe.schema import QuantizeSection
from zoo_cli.runtime.loading import open_bundle

LENGTHS = (8, 16, 32, 64, 128)


def integer_bundle(source: Path, place: Path, options: QuantizeSection) -> Path:
    """A copy of a bundle that has one integer graph instead of its own ones, calibrated with random texts.

    Args:
        source: bundle with a float graph for ONNX Runtime.
        place: folder of the copy; one that is there is taken as it is.
        options: the back end, the method and, for fixed ranges, one calibration.
    """
    if (place / "MANIFEST.json").is_file():
        return place
    shutil.rmtree(place, ignore_errors=True)
    task = open_bundle(source, "onnx", "fp32").task
    inputs = [random_batch(task, len(task.tokenizer), 2, length, seed=length) for length in LENGTHS]
    route = route_class(options)(source, options, inputs)
    shutil.copytree(source, place, ignore=shutil.ignore_patterns("fp32", "paddle", "MANIFEST.json"))
    route.build(route.candidates()[0], (), place)
    write_manifest(place)
    return place
