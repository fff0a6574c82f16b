"""The shape of a recipe: one class a section, one documented field a key.

Unknown keys are refused everywhere. Values keep the type they are written in: a number is not taken for a string, nor
`1` for `true`. What a section means together with another is in `zoo_cli.recipe.checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from zoo_cli.base.errors import UsageError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
Counts = Annotated[
    list[PositiveInt], Field(min_length=1), BeforeValidator(lambda value: [value] if isinstance(value, int) else value)
]
Paths = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class Section(BaseModel):
    """Base of all sections: strict types, no unknown keys, docstrings as descriptions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, use_attribute_docstrings=True, validate_default=True, defer_build=True
    )


SCRATCH = "scratch"
"""`init` of fresh weights; `scratch:NAME` gives them the shape of a published checkpoint."""


class WeightsSection(Section):
    """A model and where its weights come from."""

    init: str = SCRATCH

    @property
    def is_fresh(self) -> bool:
        """Whether the weights are fresh ones."""
        return self.init == SCRATCH or self.init.startswith(f"{SCRATCH}:")


class ModelSection(WeightsSection):
    """Which model, and where its weights come from."""

    family: str
    """Model family: bert, ernie, ernie_m, electra, ... A published checkpoint in `init` implies it."""
    init: str = SCRATCH
    """Name of a published checkpoint, a model folder, `scratch`, or `scratch:NAME` for fresh weights in its shape."""
    architecture: str | None = None
    """Class name; by default the one that the family uses for the task."""
    config: dict[str, Any] = {}
    """Architecture values that differ, e.g. `num_hidden_layers: 4`."""
    vocab: str | None = None
    """Vocabulary file or tokenizer folder of a model from scratch; by default that of the checkpoint."""


class DataSection(Section):
    """Where the labelled text is and how it is written."""

    train: Paths = []
    """Training files, read one after another; a lone path may be given without a list. `.gz` is unpacked on the fly."""
    dev: Paths = []
    """Development files: choose the best checkpoint and score every later step."""
    test: Paths = []
    """Test files, for `zoo evaluate`."""
    format: str | None = None
    """How the files are written: bio, bmes, conll, cluener, doccano, label_studio, prompt, csv, tsv, jsonl, squad, c3,
    chid, choices, cail_scm, utc, cluewsc, cmeee, spo, nlu, dialogue, kdconv, lccc, documents."""
    options: dict[str, Any] = {}
    """Options of the format, e.g. `columns: {text: sentence, label: label_desc}`."""
    labels: dict[str, str] = {}
    """Names that labels get as they are read, e.g. `PER: 人物` for prompts; others keep theirs."""
    dev_fraction: Fraction = 0.0
    """Share of the training rows set apart as development set when `dev` names no file."""
    limit: PositiveInt | None = None
    """Use only this many rows of each file."""


class ParallelSection(Section):
    """How training is spread over processes (`--nproc`, `--nnodes`), each with a device of its own."""

    data: PositiveInt | None = None
    """Groups of processes that read other batches; by default as many as there are processes for."""
    tensor: PositiveInt = 1
    """Processes of a group, which share the weights and compute each layer together."""

    def groups(self, processes: int) -> int:
        """Into how many groups so many processes fall.

        Raises:
            UsageError: the section asks for another number of processes (`process-count`).
        """
        groups = self.data or max(1, processes // self.tensor)
        if groups * self.tensor != processes:
            raise UsageError(
                "process-count",
                "train.parallel asks for {groups} groups of {tensor}, but there are {processes} processes",
                fix="start {wanted} with --nproc and --nnodes, or change train.parallel",
                groups=groups,
                tensor=self.tensor,
                processes=processes,
                wanted=groups * self.tensor,
            )
        return groups


class TrainSection(Section):
    """The training loop."""

    epochs: Annotated[float, Field(gt=0)] = 3.0
    """Passes over the training set; ignored when `max_steps` is given."""
    max_steps: PositiveInt | None = None
    """Optimiser steps in all."""
    batch_size: PositiveInt = 32
    """Sequences in one forward pass on one device."""
    batch_tokens: PositiveInt | None = None
    """Padded tokens in one forward pass instead of a number of sequences: short texts make larger batches."""
    gradient_accumulation: PositiveInt = 1
    """Forward passes for one optimiser step."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    """Highest learning rate."""
    schedule: Literal["linear", "cosine", "polynomial", "constant"] = "linear"
    """How the learning rate falls after warm-up."""
    schedule_power: Annotated[float, Field(gt=0)] = 1.0
    """Exponent of the polynomial schedule."""
    end_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate at the last step of a falling schedule."""
    warmup_ratio: Fraction = 0.0
    """Share of all steps in which the learning rate rises from 0."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps of warm-up, instead of a share."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's decay of all weights except biases and LayerNorm."""
    layerwise_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each layer to the one below it; 1 treats all alike."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of Adam's first moment."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of Adam's second moment."""
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Adam's epsilon."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Clip gradients to this global norm; null leaves them."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the forward pass; the reduced ones need a device that has them."""
    recompute: bool = False
    """Keep no activations of encoder layers and compute them again in the backward pass: less memory, more time."""
    parallel: ParallelSection = Field(default_factory=ParallelSection)
    """How training is spread over processes."""
    eval_steps: PositiveInt | None = None
    """Evaluate every so many steps; by default after each epoch."""
    save_steps: PositiveInt | None = None
    """Save a checkpoint every so many steps; by default at each evaluation."""
    keep_checkpoints: PositiveInt = 2
    """How many of the latest checkpoints stay on disk, beside the best model."""
    log_steps: PositiveInt = 10
    """Write loss and speed every so many steps."""
    metric: str | None = None
    """Score that chooses the best model; by default the task's own. Higher is better, except for `loss`."""
    patience: PositiveInt | None = None
    """Stop after so many evaluations without a better score."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Seed of weights, order, dropout and sampling."""


class MaskingSection(Section):
    """Which tokens are masked and what stands in their place."""

    masked_lm_prob: Fraction = 0.15
    """Share of the tokens that is masked."""
    max_predictions: PositiveInt | None = None
    """Most tokens that are masked in one text."""
    whole_word: bool = True
    """Mask words as a whole; `false` makes each token a word."""
    independent: bool = False
    """Draw for each word on its own whether it is masked (ELECTRA, ERNIE-Health) instead of choosing n-grams."""
    max_ngrams: PositiveInt = 3
    """Most words that are masked in a row."""
    favor_longer_ngram: bool = False
    """Turn the probabilities of the lengths around: of three words 6/11 instead of 2/11."""
    geometric: bool = False
    """Draw the number of words from the geometric distribution with p = 0.2, cut at `max_ngrams` (SpanBERT)."""
    random_from: Literal["vocabulary", "sequence"] = "vocabulary"
    """Where random tokens come from."""
    permutation: bool = False
    """Exchange as many other tokens among each other, which are then guessed too."""
    style: Literal["bert", "t5"] = "bert"
    """`bert` replaces 80 % by the mask token and 10 % by random tokens and leaves 10 %; `t5` masks all of them."""

    @model_validator(mode="after")
    def _check(self) -> MaskingSection:
        if self.independent and self.permutation:
            raise ValueError("permutation goes with n-grams, not with independent masking")
        return self


class RawTextSection(Section):
    """How raw text is written, and how it becomes token ids; for files that are no corpora yet."""

    format: Literal["auto", "text", "jsonl"] = "auto"
    """`text`, `jsonl` (one object a line), or `auto`: by the file's name."""
    documents: Literal["blank-line", "line"] = "blank-line"
    """What ends a document of a text file: a blank line, or each line end."""
    json_key: str = "text"
    """Key of the text in JSON lines."""
    encoding: str = "utf-8"
    """Encoding of the files."""
    sentences: Literal["auto", "lines"] = "auto"
    """Split documents by punctuation and line ends, or at line ends only. The objective `causal` splits none."""
    segmenter: str | None = None
    """What finds words, so that they can be masked as a whole: jieba, separated, or package.module:function."""


_OBJECTIVE_OF = {
    "pair": "mlm",
    "parallel": "cross_lingual",
    "cross_attention": "cross_lingual",
    "back_translation": "cross_lingual",
    "negative_share": "spans",
    "reorder_parts": "recurrent",
    "retrospective": "recurrent",
}
"""Keys of `pretrain` that mean something to one objective only."""


class PretrainSection(Section):
    """What a model learns from text without labels, and how samples are cut out of it."""

    objective: Literal["mlm", "rtd", "two_views", "causal", "prefix", "spans", "cross_lingual", "recurrent", "distill"]
    """`mlm`: masked language model (BERT, ERNIE). `rtd`: replaced-token detection (ELECTRA). `two_views`: the same with
    two maskings of each text (ERNIE-Health). `causal`: the next token (GPT). `prefix`: the rest of a text from its
    beginning, and the masked tokens of that (UNIMO, UnifiedTransformer). `spans`: answers to prompts (UIE).
    `cross_lingual`: masked tokens of texts and of pairs of translations (ERNIE-M). `recurrent`: masked tokens of
    documents of any length, and the order of their parts (ERNIE-Doc). `distill`: what a larger model, the section
    `model`, makes of the text; the section `distill` has the smaller ones and a strategy (TinyBERT, ERNIE 3.0)."""
    corpora: Annotated[Paths, Field(min_length=1)]
    """Corpora that `zoo data corpus build` made, named without endings; files of raw text; folders of either. All of
    them, or none, may have a weight in front: `0.7 corpora/wiki`. Of `spans`: files of `content`, `prompt` and
    `result_list` lines, which `zoo data convert` writes."""
    parallel: Paths = []
    """Of `cross_lingual`: pairs of a text and its translation, with weights as in `corpora`. Corpora, files with a tab
    between the two, or two files with a text in each line: `texts.en|texts.zh`."""
    dev: Paths = []
    """The same for the development set; by default it is a part of `corpora`."""
    split: str = "949,50,1"
    """Weights of the training, development and test part of each corpus."""
    raw_text: RawTextSection = Field(default_factory=RawTextSection)
    """How raw text is written, and how it becomes token ids."""
    max_length: Annotated[int, Field(ge=8)] = 512
    """Tokens of a sample, special tokens included."""
    pair: Literal["none", "nsp", "sop"] = "none"
    """Second objective of `mlm`: next sentence (BERT) or order of sentences (ERNIE)."""
    short_seq_prob: Fraction = 0.1
    """Share of samples that are shorter than they could be."""
    word_marks: Literal["ernie", "health"] = "ernie"
    """Which ids mark characters that continue a word: those of ERNIE's corpora or of ERNIE-Health's."""
    masking: MaskingSection = Field(default_factory=MaskingSection)
    """Which tokens are masked and what stands in their place."""
    start: Literal["random", "neighbours"] = "random"
    """Fresh weights of `mlm`, `rtd` and `two_views`. `random`: small numbers. `neighbours`: a model of which tokens
    stand near one another in `corpora`, from which a small one learns at once what it else needs thousands of steps
    for: embeddings are vectors of their neighbours, positions sinusoids, and attention begins with near tokens."""
    negative_share: Fraction = 0.0
    """Of `spans`: share of the pairs that are read with the prompt of another text, which this one does not answer."""
    cross_attention: Fraction = 0.5
    """Of `cross_lingual`: share of the translated pairs whose masked tokens see the other text only (CAMLM)."""
    back_translation: Fraction = 0.0
    """Of `cross_lingual`: share of the texts that are learnt with words of the model's own translation (BTMLM)."""
    reorder_parts: PositiveInt = 3
    """Of `recurrent`: most parts that a document is cut into, which are then put into random order; 1 leaves it."""
    retrospective: bool = False
    """Of `recurrent`: read every document twice, the second time with a memory of its end, and learn from that."""
    eval_batches: PositiveInt = 10
    """Batches of the development set that are scored, always the same ones."""

    @model_validator(mode="after")
    def _check(self) -> PretrainSection:
        for key, objective in _OBJECTIVE_OF.items():
            if getattr(self, key) != type(self).model_fields[key].get_default() and self.objective != objective:
                raise ValueError(f"{key} goes with the objective {objective}, not with {self.objective}")
        return self


class StudentSection(WeightsSection):
    """The model that learns from another. Its tokenizer and labels are those of the teacher."""

    family: str
    """Model family. A published checkpoint in `init` implies it."""
    init: str = SCRATCH
    """Name of a published checkpoint, a model folder, `scratch`, or `scratch:NAME` for fresh weights in its shape."""
    architecture: str | None = None
    """Class name; by default the one that the family uses for the task."""
    config: dict[str, Any] = {}
    """Architecture values that differ, e.g. `num_hidden_layers: 4`."""
    task: dict[str, Any] = {}
    """With `labelling`: options of the student's own task, e.g. `max_length`; its schema is that of the recipe."""


class LabellingSection(Section):
    """Texts that the teacher answers and the student then learns from as if they had been annotated."""

    texts: Paths = []
    """Files of texts without annotation; by default the texts of `data.train`, whose annotations are put aside."""
    format: str = "text"
    """How they are written: `text`, one a line, or a format of labelled data, of which the texts only are read."""
    ratio: Annotated[int, Field(ge=-1)] = 10
    """Most texts for each annotated one of `data.train`; -1 takes all."""
    threshold: Fraction = 0.0
    """Leave out what the teacher finds with a lower probability."""
    negative_ratio: Annotated[int, Field(ge=-1)] = 1
    """Most texts in which the teacher finds nothing for each in which it finds something; -1 takes all."""


class AugmentationSection(Section):
    """Copies of the training texts with other words in them, which `zoo data augment` makes, as for TinyBERT."""

    masked_lm: str | None = None
    """Name of a published checkpoint of BERT or ERNIE, or a model folder with such a model's masked-LM head: proposes
    other words for those that are one token."""
    vectors: str | None = None
    """File of word vectors (GloVe, word2vec's text format): the nearest words stand for those that are more tokens, or
    for all without `masked_lm`."""
    copies: PositiveInt = 20
    """Most copies of each text."""
    candidates: PositiveInt = 15
    """Most words that may stand for another."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Of each word to be replaced in a copy."""


class DistillMatch(Section):
    """One thing in which the student is to be like the teacher. Layers count from 1; 0 is what the embeddings give."""

    feature: Literal["labels", "logits", "hidden", "attention", "query", "key", "value"]
    """What is compared: the model's own loss on the labels, its logits, hidden states, attention scores before the
    softmax, or the relations of all tokens' queries, keys or values with one another."""
    loss: Literal["mse", "cosine", "kl", "cross_entropy"] | None = None
    """How: logits with mse, kl or cross_entropy, hidden with mse or cosine, attention with mse or kl, relations with
    kl; none for labels."""
    teacher: Annotated[int, Field(ge=0)] | None = None
    """Layer of the teacher."""
    student: Annotated[int, Field(ge=0)] | None = None
    """Layer of the student."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Factor of this loss in the sum."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of logits: both are divided by it. `kl` is multiplied by its square, `cross_entropy` is not."""
    projection: Literal["linear", "shared"] | None = None
    """Of hidden states: a linear layer from the student's width to the teacher's, one for each student layer (`linear`)
    or one for all (`shared`). TinyBERT has both itself."""
    heads: Literal["each", "mean"] = "each"
    """Of attention: compare head with head, or the mean of all heads."""
    relation_heads: PositiveInt | None = None
    """Of relations: heads that the vectors are cut into; they divide both widths."""


class DistillStage(Section):
    """One training of the student: a named strategy, matches of your own, or both together."""

    strategy: (
        Literal[
            "logits",
            "uniform",
            "last",
            "minilm",
            "minilmv2",
            "tinybert-intermediate",
            "tinybert-prediction",
            "dynabert",
            "general",
            "online",
        ]
        | None
    ) = None
    """A named set of matches; `zoo recipes show --resolved` lists them."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Of the strategies that compare logits; 1 unless given."""
    hard_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the loss on the labels beside the teacher's logits (logits, uniform, last); 0 unless given."""
    projection: Literal["linear", "shared"] | None = None
    """Of the strategies that compare hidden states (uniform, last, tinybert-intermediate, dynabert); `linear` unless
    given."""
    teacher_layer: PositiveInt | None = None
    """Layer that the student's last one learns from (minilm, minilmv2); the last one unless given."""
    relation_heads: PositiveInt | None = None
    """Heads of the relations (minilmv2, online); unless given the largest number up to 48 that divides both widths and
    leaves each vector 8 numbers or more."""
    matches: list[DistillMatch] = []
    """Matches of your own."""
    train: TrainSection = Field(default_factory=TrainSection)
    """Values of `train` that differ in this stage."""

    def training(self, base: TrainSection) -> TrainSection:
        """The recipe's `train` section with the values of this stage."""
        return base.model_copy(update={key: getattr(self.train, key) for key in self.train.model_fields_set})


class DistillSection(Section):
    """A smaller model that learns from the fine-tuned one."""

    student: StudentSection
    """The smaller model."""
    labelling: LabellingSection | None = None
    """Of UIE: the student finds all that the schema asks for in one pass, and learns from `data.train` and from texts
    that the teacher has labelled. It may have any encoder and its own vocabulary; stages compare `labels` only."""
    students: dict[str, StudentSection] = {}
    """Of strategy `online`: smaller models by name, which learn from `student` while it learns from the teacher."""
    stages: Annotated[dict[str, DistillStage], Field(min_length=1)]
    """Trainings one after another, by name; each goes on with the best student of the one before."""
    cache_gigabytes: Annotated[float, Field(ge=0)] = 4.0
    """Keep what the teacher says of the training texts on disk until the run ends, if it needs no more space."""
    baseline: bool = False
    """Train the same student without the teacher, too, to compare."""
    augmentation: AugmentationSection = Field(default_factory=AugmentationSection)
    """How `zoo data augment` makes more of the training texts."""
    augmented: bool = False
    """Learn from what `zoo data augment` made of `data.train`, which includes it."""


class PruneSection(Section):
    """Smaller models cut out of the fine-tuned one, each trained to answer as it does."""

    widths: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] = [0.75]
    """Shares of the heads and of the feed-forward neurons of every layer that are kept; each makes a model."""
    layers: PositiveInt | None = None
    """How many layers are kept, evenly spread; by default all."""
    vocabulary: PositiveInt | None = None
    """How many tokens are kept: special ones first, then the most frequent of the training texts; by default all."""
    positions: PositiveInt | None = None
    """How many places the position table keeps; by default all."""
    uneven: bool = False
    """Keep the most important heads and neurons of all layers together, so that some layers keep more than others."""
    examples: PositiveInt = 256
    """Training examples by which the importance of heads and neurons is judged."""
    baseline: bool = False
    """Train each of the smaller models on labels alone, too, to compare."""
    stage: DistillStage = Field(default_factory=lambda: DistillStage(strategy="dynabert"))
    """How each model learns from the unpruned one; by strategy `dynabert` unless it has a strategy or matches."""

    @field_validator("stage")
    @classmethod
    def _learn_something(cls, stage: DistillStage) -> DistillStage:
        return stage if stage.strategy or stage.matches else stage.model_copy(update={"strategy": "dynabert"})


class AwareTrainingSection(Section):
    """Training with rounded weights and activations, which lets a model get used to them."""

    quanter: Literal["min_max", "pact", "lsq"] = "pact"
    """How ranges of activations come about: a moving mean of the extremes (`min_max`), both ends learnt (`pact`), or
    the step between two integers learnt (`lsq`)."""
    train: TrainSection = Field(default_factory=TrainSection)
    """Values of `train` that differ in this training."""

    def training(self, base: TrainSection) -> TrainSection:
        """The recipe's `train` section with the values of this training."""
        return base.model_copy(update={key: getattr(self.train, key) for key in self.train.model_fields_set})


class QuantizeSection(Section):
    """Integer arithmetic for inference."""

    backend: Literal["onnx", "openvino", "paddle"] = "onnx"
    """What will run the model: `onnx` for ONNX Runtime, `openvino` for OpenVINO; `paddle` has no integer products."""
    method: Literal["dynamic", "static", "qat", "weight_only"] = "dynamic"
    """Ranges of activations are found in each call (`dynamic`), beforehand from training examples (`static`), or learnt
    in a training of their own (`qat`); or activations stay in float, and weights alone become integers (`weight_only`),
    which helps where texts are written token by token."""
    bits: Literal[4, 8] = 8
    """Bits of a weight; four go with `weight_only`."""
    calibration: (
        Annotated[
            list[Literal["min_max", "percentile", "entropy", "mse", "smooth", "nncf", "nearest", "gptq"]],
            Field(min_length=1),
        ]
        | None
    ) = None
    """Ways to choose integers, each of which is tried; the best on the development set is kept. Static: `min_max`,
    `percentile`, `entropy` and `mse` choose ranges, `smooth` takes the extremes after it has made channels more even
    (SmoothQuant), `nncf` leaves ranges, and the choice of what to quantise, to OpenVINO's own quantiser. Weight only:
    the `nearest` integers, or those that make up for one another's errors (`gptq`). By default all that the back end
    has; with weights of eight bits `nearest` only."""
    percentile: Annotated[float, Field(gt=0.5, le=1)] = 0.9999
    """Static: share of the values that the range of `percentile` holds."""
    calibration_examples: Counts = [128]
    """How many training examples ranges are found from, of all lengths that occur. Of several numbers, each is tried
    with `min_max`, `percentile`, `entropy` and `mse`; all others take the largest."""
    embeddings: bool = True
    """Store embedding tables in eight bits, too: a smaller file, not a faster one. A table that also makes the scores
    of the vocabulary counts as a weight."""
    qat: AwareTrainingSection = Field(default_factory=AwareTrainingSection)
    """The training of the method `qat`."""
    tolerance: Annotated[float, Field(gt=0)] = 0.02
    """Largest difference of a score when the golden requests are answered again, e.g. on another processor."""


class GatesSection(Section):
    """What a compressed model must keep to; a breach is exit code 6, and the artifact stays under `rejected/`."""

    metric_drop: Fraction = 0.01
    """How much of the metric may be lost on the development set, as a difference: 0.01 allows 0.80 to become 0.79."""
    size_ratio: Annotated[float, Field(gt=0)] | None = None
    """Largest size of the graph as a share of the uncompressed one, e.g. 0.3."""
    speed_up: Annotated[float, Field(gt=0)] | None = None
    """Least factor by which the graph must be faster than the uncompressed one on the same back end."""
    teacher_share: Annotated[float, Field(gt=0)] | None = None
    """Least share of the teacher's metric that a distilled or pruned student must reach on the development set, e.g.
    0.95."""


class ExportSection(Section):
    """Graphs that run without the model's code, and how closely they must agree with it."""

    backends: Annotated[list[Literal["onnx", "paddle", "openvino"]], Field(min_length=1)] = ["onnx", "paddle"]
    """What to write: `onnx` for ONNX Runtime, `paddle` for Paddle Inference, `openvino` for OpenVINO."""
    precisions: Annotated[list[Literal["fp32", "fp16", "bf16"]], Field(min_length=1)] = ["fp32"]
    """What numbers the graphs have; `fp16` halves them, and pays on graphics cards."""
    golden_requests: PositiveInt = 16
    """How many development examples are asked of every back end and kept in the bundle with their answers."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-4
    """Largest difference of any output, and of any score in an answer."""
    half_tolerance: Annotated[float, Field(gt=0)] = 0.05
    """The same of graphs in half precision."""
    licence: str | None = None
    """Licence of the bundle, for its card; by default that of the published weights."""


class ServeLimits(Section):
    """What one model accepts, and how long its clients wait."""

    items: PositiveInt = 64
    """Inputs in one request at most; more get status 413."""
    characters: PositiveInt = 20_000
    """Characters in all strings of one input at most; more get status 413."""
    schema_names: PositiveInt = 64
    """Names in the schema of one input at most; more get status 413."""
    tokens: PositiveInt = 65_536
    """Tokens that the model reads for one input at most, all windows and questions counted; more get status 413."""
    answer_bytes: PositiveInt = 4_000_000
    """Bytes of one answer at most; a longer one is replaced by status 413."""
    queue_items: PositiveInt = 256
    """Inputs in work at the same time; what comes on top gets status 429."""
    queue_tokens: PositiveInt = 65_536
    """Tokens waiting for the model above which new requests get status 429."""
    timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds until a request is given up with status 504; clients may ask for less."""


class ServedModel(Section):
    """One more model of a server."""

    bundle: str
    """The bundle's folder."""
    backend: Literal["onnx", "paddle", "openvino"] | None = None
    """What computes; by default that of the server."""
    precision: str | None = None
    """Which of the bundle's graphs; by default that of the server."""
    routes: list[str] = []
    """Further names under which PaddleNLP's SimpleServing clients reach the model, e.g. `models/cls_multi_class`."""
    limits: ServeLimits | None = None
    """Limits that differ from those of the server."""


class ServeSection(Section):
    """The server."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` makes the server reachable from other machines."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 takes a free one."""
    workers: PositiveInt = 1
    """Processes; each has its own models and its own queue."""
    threads: PositiveInt | None = None
    """Cores that compute one batch; by default all that a process has. Fewer means that batches run side by side."""
    backend: Literal["onnx", "paddle", "openvino"] | None = None
    """What computes; by default the first of onnx, openvino and paddle that the bundle has."""
    precision: str | None = None
    """Which of the bundle's graphs; by default fp32 if it has one."""
    batch_tokens: PositiveInt = 1024
    """Padded tokens in one batch at most; a longer sequence runs alone."""
    cache_entries: Annotated[int, Field(ge=0)] = 0
    """Answers of each model kept for identical inputs; 0 keeps none."""
    memory_limit: PositiveInt | None = None
    """Bytes of memory that one process may use; batches are made smaller until they fit. By default the processes share
    nine tenths of what the container or the machine has."""
    limits: ServeLimits = Field(default_factory=ServeLimits)
    """What each model accepts."""
    routes: list[str] = []
    """Further names under which PaddleNLP's SimpleServing clients reach the first model."""
    models: dict[str, ServedModel] = {}
    """Further models by name."""
    api_keys: str | None = None
    """File of keys, one a line, that clients must send as `Authorization: Bearer KEY`; without it all may ask."""
    admin_keys: str | None = None
    """File of keys that may load and unload models; without it nobody may."""
    tls_certificate: str | None = None
    """Certificate file (PEM); with `tls_key` the server speaks HTTPS."""
    tls_key: str | None = None
    """Key file of the certificate."""
    body_bytes: PositiveInt = 2_000_000
    """Bytes of a request's body at most; more get status 413."""
    header_timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds in which the headers of a request must be complete."""
    body_timeout: Annotated[float, Field(gt=0)] = 20.0
    """Seconds in which the body of a request must be complete."""
    write_timeout: Annotated[float, Field(gt=0)] = 20.0
    """Seconds in which a client must take a part of an answer."""
    keep_alive: PositiveInt = 15
    """Seconds that an idle connection stays open."""
    connections: PositiveInt = 1024
    """Open connections of one process at most; further requests get status 503."""
    drain_delay: Annotated[float, Field(ge=0)] = 0.0
    """Seconds between a stop signal and the first refusal, in which load balancers notice that `/readyz` says 503."""
    drain_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds that requests in work get to finish after a stop signal."""
    access_log: bool = True
    """Write a line of JSON for each request to standard error, without its text."""


class Recipe(Section):
    """One YAML file for every verb."""

    version: Literal[1]
    """Version of the recipe format."""
    extends: str | None = None
    """Another recipe whose values are taken where this one is silent; that one may not extend a third."""
    description: str = ""
    """One line for `zoo recipes list`."""
    deploy: str | None = None
    """Profile whose values of `quantize`, `export`, `gates` and `serve` are taken where the recipe is silent:
    cpu-latency, cpu-throughput, gpu-fp16 or edge."""
    model: ModelSection
    """Which model, and where its weights come from."""
    task: dict[str, Any] = {}
    """What is learnt: `name`, and the options of that task. Every recipe has one but those that pretrain."""
    pretrain: PretrainSection | None = None
    """Learning from text without labels, in a recipe of its own."""
    data: DataSection = Field(default_factory=DataSection)
    """Where the labelled text is and how it is written."""
    train: TrainSection = Field(default_factory=TrainSection)
    """The training loop."""
    distill: DistillSection | None = None
    """A smaller model that learns from the fine-tuned one."""
    prune: PruneSection | None = None
    """Smaller models cut out of the fine-tuned one."""
    quantize: QuantizeSection | None = None
    """Integer arithmetic for inference."""
    gates: GatesSection = Field(default_factory=GatesSection)
    """What a compressed model must keep to."""
    export: ExportSection = Field(default_factory=ExportSection)
    """Graphs that run without the model's code."""
    serve: ServeSection = Field(default_factory=ServeSection)
    """The server."""
    tiny: dict[str, Any] = {}
    """Values of the recipe that `--tiny` replaces, in the recipe's own structure."""
