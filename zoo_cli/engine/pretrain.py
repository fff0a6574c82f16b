"""`zoo pretrain`: learning from text without labels."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import paddle

from zoo_cli import models, registry
from zoo_cli.base.errors import UsageError
from zoo_cli.data.corpus.blend import parse_blend
from zoo_cli.data.corpus.prefix_inputs import end_token
from zoo_cli.data.corpus.raw import find_raw_text
from zoo_cli.engine.corpus_batches import CorpusBatches, corpus_batches
from zoo_cli.engine.distributed import World
from zoo_cli.engine.guards import explain_memory
from zoo_cli.engine.loop import train
from zoo_cli.engine.objectives.base import to_tensors
from zoo_cli.engine.objectives.causal_lm import CausalLanguageModel
from zoo_cli.engine.objectives.masked_lm import MaskedLanguageModel
from zoo_cli.engine.objectives.prefix_lm import PrefixLanguageModel
from zoo_cli.engine.objectives.pretraining import Pretraining
from zoo_cli.engine.objectives.replaced_tokens import ReplacedTokens
from zoo_cli.engine.objectives.tally import Tally
from zoo_cli.engine.objectives.text_views import TextViews
from zoo_cli.engine.run import CORPORA, open_run
from zoo_cli.engine.setup import make_model, starting_point
from zoo_cli.models.base import Model
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.presets import FileProgress
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import PretrainSection, TrainSection
from zoo_cli.tasks.generative import special_ids_of

logger = logging.getLogger(__name__)

SECTIONS = ("model", "pretrain", "train")
"""Sections of a recipe that pretraining reads."""
LARGEST_EXPONENT = 700.0
"""Above it a float64 overflows."""


def pretrain(
    loaded: LoadedRecipe,
    folder: Path,
    source: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: FileProgress | None = None,
) -> None:
    """Pretrain a model as a recipe says; the run folder has the result, a model folder that fine-tunes.

    Args:
        loaded: the recipe.
        folder: run folder; raw text becomes corpora inside of it.
        source: model folder to go on from instead of `model.init`.
        resume: go on with an unfinished run.
        force: replace a run that is there.
        progress: shows downloads.

    Raises:
        UsageError: the recipe is not for pretraining (`no-pretraining`), or options do not go together.
        DataError: there is no text, or too little.
        ZooError: see `zoo_cli.engine.loop.train`.
    """
    section, options = loaded.pretraining, loaded.recipe.train
    start, tokenizer = starting_point(loaded, source, progress)
    corpora = folder / CORPORA
    blend, texts = find_raw_text(parse_blend(section.corpora), corpora, tokenizer, section)
    dev_blend, dev_texts = blend, texts
    if section.dev:
        dev_blend, dev_texts = find_raw_text(parse_blend(section.dev), corpora, tokenizer, section)
    world = World.join()
    recipe = to_yaml(loaded, defaults=True, origins=False)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        if world.leads:
            corpora.mkdir(exist_ok=True)
            for text in (*texts, *dev_texts):
                text.build()
        world.from_leader([0.0])  # the others wait for the corpora
        batches = corpus_batches(blend, tokenizer, section, options, "all" if section.dev else "train", corpora)
        dev = corpus_batches(dev_blend, tokenizer, section, options, "all" if section.dev else "dev", corpora)
        if batches is None:
            raise UsageError(
                "bad-split",
                "the split {split!r} leaves nothing to train on",
                fix="for example 949,50,1",
                split=section.split,
            )
        for each in filter(None, (batches, dev)):
            each.load(0, each.plan(0)[0])  # what is wrong with the text shows before the first step
        ends = special_ids_of(tokenizer, {"bos_token": "cls_token", "eos_token": end_token(tokenizer)})
        values = ends if section.objective == "prefix" else {}
        model = make_model(loaded, architecture_of(loaded), start, tokenizer, values)
        objective = make_objective(section)
        if dev is None:
            logger.warning("no document is in the development part, so that the last model is the best")

        def save(target: Path) -> None:
            models.save(model, target)
            tokenizer.save(target)

        scores = None if dev is None else PretrainingScores(model, objective, dev, section.eval_batches, options)
        train(model, objective, batches, options, run, save, scores, metric="loss", world=world)


def architecture_of(loaded: LoadedRecipe) -> str:
    """Class name of the model that a recipe pretrains."""
    model, section = loaded.recipe.model, loaded.pretraining
    learnt = section.objective if section.pair == "none" else section.pair
    return model.architecture or registry.family(model.family).objectives[learnt]


def make_objective(section: PretrainSection) -> Pretraining:
    """What a recipe's `pretrain` section has the model learn."""
    match section.objective:
        case "mlm":
            return MaskedLanguageModel(section.pair)
        case "rtd":
            return ReplacedTokens()
        case "two_views":
            return TextViews()
        case "causal":
            return CausalLanguageModel()
        case "prefix":
            return PrefixLanguageModel()


class PretrainingScores:
    """Scores a model on batches of the development part, the same ones each time; implements
    `zoo_cli.engine.loop.Evaluate`.

    Args:
        model: the model.
        objective: what it learns.
        batches: of the development part.
        count: how many of them are read.
        options: its seed is that of random choices of the model, such as a generator's tokens.
    """

    def __init__(
        self, model: Model, objective: Pretraining, batches: CorpusBatches, count: int, options: TrainSection
    ) -> None:
        self._model, self._objective, self._batches, self._options = model, objective, batches, options
        self._count = count

    def __call__(self) -> dict[str, Any]:
        """The scores by name.

        ``loss`` is what is minimised, ``perplexity`` that of the language model. Each term of the objective has
        ``NAME_loss`` and ``NAME_accuracy``, and ``NAME_precision`` and ``NAME_recall`` of yes where it is yes or no.

        Raises:
            MemoryLimitError: memory did not suffice (`out-of-memory`).
        """
        losses: dict[str, float] = defaultdict(float)
        weights: dict[str, float] = {}
        tallies: dict[str, Tally] = defaultdict(Tally)
        self._model.eval()
        paddle.seed(self._options.seed)
        for rows in self._batches.plan(0)[: self._count]:
            batch = self._batches.load(0, rows)
            with paddle.no_grad(), explain_memory(batch.arrays, self._options):
                for term in self._objective.terms(self._model, to_tensors(batch.arrays)):
                    losses[term.name] += term.loss.item() * term.count
                    weights[term.name] = term.weight
                    tallies[term.name].add(term)
        means = {name: losses[name] / max(1, tally.count) for name, tally in tallies.items()}
        scores = {
            "loss": sum(mean * weights[name] for name, mean in means.items()),
            "perplexity": math.exp(min(next(iter(means.values())), LARGEST_EXPONENT)),
        }
        for name, tally in tallies.items():
            scores[f"{name}_loss"] = means[name]
            scores |= {f"{name}_{kind}": share for kind, share in tally.shares().items()}
        return scores
