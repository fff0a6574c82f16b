"""Training sets of pretraining: corpora on disk, cut and masked batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import sha256_json
from zoo_cli.data.corpus.blend import Blend
from zoo_cli.data.corpus.cross_lingual import CrossLingualInputs, ParallelSamples
from zoo_cli.data.corpus.documents import DocumentInputs, DocumentSamples
from zoo_cli.data.corpus.format import Corpus, open_corpus
from zoo_cli.data.corpus.inputs import Inputs, Located, SentenceInputs, TokenInputs
from zoo_cli.data.corpus.marks import word_forms
from zoo_cli.data.corpus.prefix_inputs import PrefixInputs
from zoo_cli.data.corpus.prompts import PromptInputs, PromptSamples
from zoo_cli.data.corpus.samples import SentenceSamples, TokenSamples, split_documents
from zoo_cli.engine.batches import Batch, ComputedPlan
from zoo_cli.engine.distributed import World
from zoo_cli.engine.segment_batches import SegmentBatches
from zoo_cli.recipe.schema import PretrainSection, TrainSection
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer


class EpochPlan(ComputedPlan):
    """The batches of an epoch in random order, computed when asked for.

    Args:
        blend: the training set.
        epoch: number of the epoch.
        batch_size: rows of a batch; the last one may have fewer.
    """

    def __init__(self, blend: Blend, epoch: int, batch_size: int) -> None:
        self._blend, self._epoch, self._size = blend, epoch, batch_size

    def __len__(self) -> int:
        return -(-len(self._blend) // self._size)

    def batch(self, number: int) -> np.ndarray:
        places = np.arange(number * self._size, min((number + 1) * self._size, len(self._blend)))
        return self._blend.order(self._epoch, places)


class CorpusBatches:
    """Batches of samples of corpora; implements `zoo_cli.engine.batches.Batches`.

    Rows are numbers of the blend. Neither plan nor masking keeps anything: both are functions of the seed, the epoch
    and the row.

    Args:
        blend: the samples.
        inputs: makes arrays of them.
        options: `batch_size`, or `batch_tokens` with the length of a sample.
        max_length: tokens of a sample at most.
        identity: hash of everything that the batches depend on.
    """

    def __init__(self, blend: Blend, inputs: Inputs, options: TrainSection, max_length: int, identity: str) -> None:
        self._blend, self._inputs, self._identity = blend, inputs, identity
        tokens = options.batch_tokens
        self._batch_size = options.batch_size if tokens is None else max(1, tokens // max_length)

    def plan(self, epoch: int) -> EpochPlan:
        return EpochPlan(self._blend, epoch, self._batch_size)

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        arrays = self._inputs.load(Located(*self._blend.locate(epoch, indices)))
        return Batch(arrays, self._inputs.tokens(arrays))

    def describe(self, indices: np.ndarray) -> list[str]:
        """Where rows come from in the first epoch; in later ones a row is another sample of the same corpus."""
        corpora, samples, _ = self._blend.locate(0, indices)
        return [
            self._blend.parts[corpus].describe(sample)
            for corpus, sample in zip(corpora.tolist(), samples.tolist(), strict=True)
        ]

    def fingerprint(self) -> str:
        return self._identity


def corpus_batches(
    blend: Sequence[tuple[str, float | None]],
    tokenizer: PretrainedTokenizer,
    options: PretrainSection,
    train: TrainSection,
    part: str = "train",
    cache: Path | None = None,
    parallel: Sequence[tuple[str, float | None]] = (),
    world: World | None = None,
) -> CorpusBatches | SegmentBatches | None:
    """The batches of a part of one corpus or several.

    Args:
        blend: corpora and their weights, see `zoo_cli.data.corpus.blend.parse_blend`.
        tokenizer: the one that the corpora were made with.
        options: objective and lengths.
        train: batch size and seed.
        part: ``train``, ``dev`` or ``test`` of the split, or ``all``.
        cache: folder for tables of samples; None keeps them in memory, 32 bytes a sample in each process.
        parallel: parallel corpora and their weights.
        world: the processes that train together.

    Returns:
        The batches, or None where no corpus has a document in that part.

    Raises:
        UsageError: the split is not understood, a corpus has ids that the tokenizer does not have
            (`corpus-vocabulary`), or the objective is learnt in one process only (`one-process`).
        DataError: a corpus is missing, damaged, too small, or not of the kind that the objective needs.
    """
    size = len(word_forms(tokenizer, options.word_marks))
    sources: list[_Source] = []
    weighted: list[float | None] = []
    for number, (prefix, weight) in enumerate([*blend, *parallel]):
        corpus = open_corpus(prefix)
        _check_ids(corpus, size)
        documents = part_of(corpus, options, part)
        if documents[0] < documents[1]:
            sources.append(_Source(corpus, documents, number >= len(blend)))
            weighted.append(weight)
    if not sources:
        return None
    weights = [weight for weight in weighted if weight is not None] or None
    identity = sha256_json(
        [
            [source.corpus.fingerprint() for source in sources],
            weights,
            options.model_dump(exclude={"corpora", "parallel", "dev", "raw_text", "eval_batches", "start"}),
            [train.seed, train.batch_size, train.batch_tokens],
            [part, size, len(tokenizer)],
        ]
    )
    if options.objective == "recurrent":
        segments = DocumentInputs(
            [DocumentSamples(each.corpus, each.documents) for each in sources], tokenizer, options
        )
        order = Blend(segments.parts, weights, train.seed)
        readings = 2 if options.retrospective else 1
        return SegmentBatches(order, segments, train, options.max_length, readings, identity, world or World())
    inputs = _inputs(sources, tokenizer, options, train, cache)
    return CorpusBatches(Blend(inputs.parts, weights, train.seed), inputs, train, options.max_length, identity)


def part_of(corpus: Corpus, options: PretrainSection, part: str) -> tuple[int, int]:
    """First and last document (exclusive) of a part of the split, or of ``all``.

    Raises:
        UsageError: the split is not understood.
    """
    whole = (0, corpus.documents)
    return whole if part == "all" else split_documents(corpus.documents, options.split)[part]


class _Source(NamedTuple):
    """A corpus, its first and last document (exclusive), and whether they are pairs of translations."""

    corpus: Corpus
    documents: tuple[int, int]
    parallel: bool


def _inputs(
    sources: Sequence[_Source],
    tokenizer: PretrainedTokenizer,
    options: PretrainSection,
    train: TrainSection,
    cache: Path | None,
) -> Inputs:
    """What makes batches for an objective."""
    match options.objective:
        case "causal":
            windows = [TokenSamples(each.corpus, each.documents, length=options.max_length) for each in sources]
            return TokenInputs(windows, _end_token(tokenizer))
        case "spans":
            pairs = [PromptSamples(each.corpus, each.documents) for each in sources]
            return PromptInputs(pairs, tokenizer, options)
    continues = options.objective == "prefix"
    two = continues or options.pair != "none" or options.objective == "cross_lingual"
    room = options.max_length - tokenizer.frame(pair=two).size
    # A translation takes as many places as tokens are masked.
    share = options.masking.masked_lm_prob if options.back_translation else 0.0
    samples = [
        ParallelSamples(each.corpus, each.documents, max_tokens=room, cache=cache)
        if each.parallel
        else SentenceSamples(
            each.corpus,
            each.documents,
            max_tokens=int(room / (1 + share)),
            short_seq_prob=options.short_seq_prob,
            min_sentences=2 if options.pair == "sop" or continues else 1,
            seed=train.seed,
            cache=cache,
        )
        for each in sources
    ]
    if options.objective == "cross_lingual":
        return CrossLingualInputs(samples, tokenizer, options)
    return (PrefixInputs if continues else SentenceInputs)(samples, tokenizer, options)


def _check_ids(corpus: Corpus, size: int) -> None:
    """Look at the first million ids, which tells another vocabulary."""
    sample = corpus.ids[: 1 << 20]
    highest = int(sample.max()) if len(sample) else -1
    if highest >= size:
        raise UsageError(
            "corpus-vocabulary",
            "the corpus {prefix} has the id {highest}, but the tokenizer and its word marks only {size} ids",
            fix="use the vocabulary that the corpus was made with; corpora of ERNIE-Health need word_marks: health",
            prefix=corpus.prefix,
            highest=highest,
            size=size,
        )


def _end_token(tokenizer: Tokenizer) -> int | None:
    try:
        return tokenizer.eos_token_id
    except UsageError:
        return None
