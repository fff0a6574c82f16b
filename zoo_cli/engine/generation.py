"""Text generation with a paddle model, for pipelines and evaluations."""

from __future__ import annotations

from zoo_cli.models.generation import RunningBatch
from zoo_cli.models.language_model import LanguageModel
from zoo_cli.runtime.generation import MAX_ROWS, GenerationRunner


def generation_runner(model: LanguageModel, max_rows: int = MAX_ROWS) -> GenerationRunner:
    """What runs the requests of generating tasks on a model, which is put into evaluation mode by each run."""

    def open_model() -> RunningBatch:
        model.eval()
        return RunningBatch(model)

    return GenerationRunner(open_model, max_rows)
