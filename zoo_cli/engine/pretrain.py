"""`zoo pretrain`: learning from text without labels."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli import models, registry
from zoo_cli.base.errors import UsageError
from zoo_cli.data.corpus.blend import parse_blend
from zoo_cli.data.corpus.documents import order_classes
from zoo_cli.data.corpus.format import open_corpus
from zoo_cli.data.corpus.marks import word_forms
from zoo_cli.data.corpus.prefix_inputs import end_token
from zoo_cli.data.corpus.raw import RawPairs, RawText, find_raw_text
from zoo_cli.data.corpus.vectors import token_vectors
from zoo_cli.engine.batches import Batches
from zoo_cli.engine.checkpoint import latest_checkpoint
from zoo_cli.engine.corpus_batches import corpus_batches, part_of
from zoo_cli.engine.distributed import World
from zoo_cli.engine.folders import CORPORA
from zoo_cli.engine.guards import explain_memory
from zoo_cli.engine.loop import train
from zoo_cli.engine.objectives.base import to_tensors
from zoo_cli.engine.objectives.causal_lm import CausalLanguageModel
from zoo_cli.engine.objectives.cross_lingual import CrossLingualModel
from zoo_cli.engine.objectives.document_lm import DocumentLanguageModel
from zoo_cli.engine.objectives.masked_lm import MaskedLanguageModel
from zoo_cli.engine.objectives.prefix_lm import PrefixLanguageModel
from zoo_cli.engine.objectives.pretraining import Pretraining
from zoo_cli.engine.objectives.replaced_tokens import ReplacedTokens
from zoo_cli.engine.objectives.span_prompts import SpanPrompts
from zoo_cli.engine.objectives.tally import Tally
from zoo_cli.engine.objectives.text_views import TextViews
from zoo_cli.engine.run import open_run
from zoo_cli.engine.setup import make_model, starting_point
from zoo_cli.models.base import Model
from zoo_cli.models.neighbours import start_from_neighbours
from zoo_cli.recipe.checks import learnt_already
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.presets import FileProgress
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import PretrainSection, TrainSection
from zoo_cli.tasks.extraction.prompt_corpus import RawPrompts
from zoo_cli.tasks.extraction.spec import ExtractionOptions
from zoo_cli.tasks.extraction.task import ExtractionTask
from zoo_cli.tasks.generative import special_ids_of
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

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
    if section.start == "neighbours" and start is not None:
        raise learnt_already()
    corpora = folder / CORPORA
    make = RawPrompts if section.objective == "spans" else RawText
    parse_blend([*section.corpora, *section.parallel])  # weights are given to all of them or to none
    blend, texts = find_raw_text(parse_blend(section.corpora), corpora, tokenizer, section, make)
    pairs: list[tuple[str, float | None]] = []
    if section.parallel:
        pairs, pair_texts = find_raw_text(parse_blend(section.parallel), corpora, tokenizer, section, RawPairs)
        texts += pair_texts
    dev_blend, dev_pairs = blend, pairs
    if section.dev:
        dev_blend, dev_texts = find_raw_text(parse_blend(section.dev), corpora, tokenizer, section, make)
        dev_pairs, texts = [], [*texts, *dev_texts]
    world = World.join(options.parallel)
    recipe = to_yaml(loaded, defaults=True, origins=False)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        if world.leads:
            corpora.mkdir(exist_ok=True)
            for text in texts:
                text.build()
        world.from_leader([0.0])  # the others wait for the corpora
        parts = ("all", "all") if section.dev else ("train", "dev")
        batches = corpus_batches(blend, tokenizer, section, options, parts[0], corpora, pairs, world)
        dev = corpus_batches(dev_blend, tokenizer, section, options, parts[1], corpora, dev_pairs, world)
        if batches is None:
            raise UsageError(
                "bad-split",
                "the split {split!r} leaves nothing to train on",
                fix="for example 949,50,1",
                split=section.split,
            )
        for each in (batches, dev):
            if each is not None:  # what is wrong with the text shows before the first step
                each.load(0, each.plan(0)[0])
        values = model_values(section, tokenizer)
        model = make_model(loaded, architecture_of(loaded), start, tokenizer, values, source)
        if section.start == "neighbours" and world.leads and latest_checkpoint(run.checkpoints) is None:
            _start_from_neighbours(model, blend, tokenizer, section, options.seed)
        objective = make_objective(section, tokenizer, model)
        if dev is None:
            logger.warning("no document is in the development part, so that the last model is the best")

        def save(target: Path) -> None:
            models.save(model, target)
            tokenizer.save(target)
            if section.objective == "spans":  # it answers any prompt as it is
                inputs = registry.family(model.config.family).inputs
                ExtractionTask(ExtractionOptions(max_length=section.max_length), tokenizer, inputs).save(target)

        scores = None
        if dev is not None:  # an objective of its own, which remembers nothing of the training documents
            own = make_objective(section, tokenizer, model)
            scores = PretrainingScores(model, own, dev, section.eval_batches, options)
        train(model, objective, batches, options, run, save, scores, metric="loss", world=world)


def _start_from_neighbours(
    model: Model,
    blend: Sequence[tuple[str, float | None]],
    tokenizer: PretrainedTokenizer,
    section: PretrainSection,
    seed: int,
) -> None:
    """Count who stands beside whom in the training documents, and give the model weights that say so."""
    logger.info("counting which tokens stand near one another")
    corpora = [open_corpus(prefix) for prefix, _ in blend]
    documents = [part_of(corpus, section, "all" if section.dev else "train") for corpus in corpora]
    plain = word_forms(tokenizer, section.word_marks).plain
    ids, vectors = token_vectors(list(zip(corpora, documents, strict=True)), plain, model.config.hidden_size)
    start_from_neighbours(model, ids, vectors, seed)


def architecture_of(loaded: LoadedRecipe) -> str:
    """Class name of the model that a recipe pretrains."""
    model, section = loaded.recipe.model, loaded.pretraining
    learnt = section.objective if section.pair == "none" else section.pair
    return model.architecture or registry.family(model.family).objectives[learnt]


def model_values(section: PretrainSection, tokenizer: PretrainedTokenizer) -> dict[str, Any]:
    """Configuration values of the model that follow from what it learns."""
    match section.objective:
        case "prefix":
            return special_ids_of(tokenizer, {"bos_token": "cls_token", "eos_token": end_token(tokenizer)})
        case "recurrent":
            return {"num_labels": order_classes(section.reorder_parts)}
        case _:
            return {}


def make_objective(section: PretrainSection, tokenizer: PretrainedTokenizer, model: Model) -> Pretraining:
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
        case "spans":
            return SpanPrompts()
        case "distill":
            raise UsageError(
                "needs-teacher",
                "the recipe has a smaller model learn from a larger one",
                fix="run it with `zoo distill`",
            )
        case "cross_lingual":
            shares = {"mlm": 1 - section.back_translation, "btmlm": section.back_translation}
            if section.parallel:
                shares |= {"tlm": 1 - section.cross_attention, "camlm": section.cross_attention}
            return CrossLingualModel([name for name, share in shares.items() if share], tokenizer.all_special_ids)
        case "recurrent":
            states = model.config.state_shapes.items()
            return DocumentLanguageModel({name: np.zeros(shape, np.float32) for name, shape in states})


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
        self, model: Model, objective: Pretraining, batches: Batches, count: int, options: TrainSection
    ) -> None:
        self._model, self._objective, self._batches, self._options = model, objective, batches, options
        self._count = count

    def __call__(self) -> dict[str, Any]:
        """The scores by name.

        ``loss`` is what is minimised, ``perplexity`` that of the language model, if there is one. Each term of the
        objective has ``NAME_loss`` and what `zoo_cli.engine.objectives.tally.Tally.shares` gives.

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
        if self._objective.pooled:
            total = modelled = sum(losses.values()) / max(1, sum(tally.count for tally in tallies.values()))
        else:
            total = sum(mean * weights[name] for name, mean in means.items())
            modelled = next(iter(means.values()))
        scores = {"loss": total}
        if self._objective.models_language:
            scores["perplexity"] = math.exp(min(modelled, LARGEST_EXPONENT))
        for name, tally in tallies.items():
            scores[f"{name}_loss"] = means[name]
            scores |= {f"{name}_{kind}": share for kind, share in tally.shares().items()}
        return scores
