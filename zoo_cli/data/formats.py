"""The formats that labelled data may be written in, and the options of each (`data.options` of a recipe).

Only names and option classes: the readers are imported when a file is read (`zoo_cli.data.readers.read`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from zoo_cli.recipe.schema import Paths, Section

Column = str | int
Layout = Literal["lines", "rows", "list", "tree"]


class NoOptions(Section):
    """Options of a format that has none."""


class TaggedOptions(Section):
    """Options of files with one token a line and a blank line after each sentence."""

    token_column: int = 0
    """Column of the token; counts from 0, negative numbers from the end."""
    tag_column: int | None = -1
    """Column of the tag; null for text without tags."""
    separator: Literal["auto", "tab", "space"] = "auto"
    """What parts the columns: one tab, or any number of spaces; `auto` looks at the first line."""
    position_suffix: bool = False
    """Tokens end in a digit that is their place in the word (`科0`, `技1`: Weibo NER) and is dropped."""


class ConllOptions(TaggedOptions):
    """Options of CoNLL files: tagged tokens in any scheme."""

    scheme: Literal["any", "bio", "bioes", "bilou", "bmes"] = "any"
    """Tagging scheme; tags of another are an error."""


class LabelStudioOptions(Section):
    """Options of Label Studio's JSON export."""

    text: str = "text"
    """Key of the text in an item's `data`."""
    default_relation: str = "relation"
    """Label of relations that were drawn without one."""


class Columns(Section):
    """Which columns (or JSON keys) hold what. A column is its name, or its number counted from 0."""

    text: Column = "text"
    """The text, or the first of two."""
    text_pair: Column | None = None
    """The second text."""
    label: Column | None = "label"
    """Class, classes or score; null for unlabelled text."""
    id: Column | None = None
    """Name of the row, carried to predictions."""


class RowOptions(Section):
    """Options of rows that hold a text and its label."""

    columns: Columns = Columns()
    """Which column or key holds what."""
    label_type: Literal["class", "score"] = "class"
    """`class`: a name (several where `label_separator` or a JSON list gives several). `score`: a number to regress."""
    label_separator: str | None = None
    """What parts several class names in one column, e.g. `","`."""
    where: dict[str, str] = Field(default_factory=dict)
    """Values that a row must have in other columns; rows with others are left out, e.g. `{language: de}` (XNLI)."""
    skip_labels: list[str] = Field(default_factory=list)
    """Rows with one of these labels are left out, e.g. `["-"]` where annotators did not agree (OCNLI)."""


class CsvOptions(RowOptions):
    """Options of comma-separated files."""

    header: bool | None = None
    """The first row names the columns; by default it does when `columns` has a name."""
    quoted: bool = True
    """Fields may be in double quotes, and then hold commas and line breaks."""
    ragged_rows: Literal["error", "skip"] = "error"
    """A row with more or fewer columns than the first is an error or is left out (GLUE's QQP has some)."""


class TsvOptions(CsvOptions):
    """Options of tab-separated files."""

    quoted: bool = False
    """Fields may be in double quotes, and then hold tabs and line breaks."""


class SquadOptions(Section):
    """Options of SQuAD-style files."""

    wrong_offsets: Literal["repair", "error"] = "repair"
    """An answer that does not stand where `answer_start` says is looked for nearby (`repair`) or is an error."""


class ChidOptions(Section):
    """Options of ChID files."""

    answers: Paths = Field(default_factory=list)
    """JSON files that map each blank (`#idiom000378#`) to the index of its idiom, as CLUE ships them apart."""


class SpoOptions(Section):
    """Options of files with subject, predicate and object."""

    schema_file: str | None = None
    """JSON lines with `subject_type`, `predicate` and `object_type`; a triple of another kind is an error."""


class DocumentOptions(Section):
    """Options of plain text files."""

    document: Literal["line", "paragraph", "article", "file"] = "paragraph"
    """What a document is: a line; lines up to an empty one; an article under a heading ` = Title = ` (WikiText); or the
    whole file."""


@dataclass(frozen=True)
class Format:
    """A way to write labelled data.

    Args:
        name: key in `FORMATS`.
        reader: dotted name of a function ``(path, options) -> Iterator[Example]``.
        options: class of its options.
        example: name of the class in `zoo_cli.data.examples` that it yields.
        layout: how a file is laid out: `lines` (a row is made of whole lines), `rows` (JSON lines, or one JSON list),
            `list` (one JSON list), `tree` (JSON in which rows are inside of each other).
    """

    name: str
    reader: str
    options: type[Section]
    example: str
    layout: Layout = "lines"


def _table(*formats: Format) -> dict[str, Format]:
    return {entry.name: entry for entry in formats}


FORMATS = _table(
    Format("bio", "zoo_cli.data.tagged:read_bio", TaggedOptions, "TaggedTokens"),
    Format("bmes", "zoo_cli.data.tagged:read_bmes", TaggedOptions, "TaggedTokens"),
    Format("conll", "zoo_cli.data.tagged:read_conll", ConllOptions, "TaggedTokens"),
    Format("cluener", "zoo_cli.data.annotations:read_cluener", NoOptions, "AnnotatedText"),
    Format("doccano", "zoo_cli.data.annotations:read_doccano", NoOptions, "AnnotatedText", "rows"),
    Format("label_studio", "zoo_cli.data.annotations:read_label_studio", LabelStudioOptions, "AnnotatedText", "list"),
    Format("prompt", "zoo_cli.data.annotations:read_prompt", NoOptions, "PromptExample"),
    Format("csv", "zoo_cli.data.columns:read_csv", CsvOptions, "TextExample"),
    Format("tsv", "zoo_cli.data.columns:read_tsv", TsvOptions, "TextExample"),
    Format("jsonl", "zoo_cli.data.columns:read_jsonl", RowOptions, "TextExample", "rows"),
    Format("cluewsc", "zoo_cli.data.corpora:read_cluewsc", NoOptions, "TextExample", "rows"),
    Format("squad", "zoo_cli.data.reading:read_squad", SquadOptions, "QuestionExample", "tree"),
    Format("c3", "zoo_cli.data.reading:read_c3", NoOptions, "ChoiceExample", "list"),
    Format("chid", "zoo_cli.data.reading:read_chid", ChidOptions, "ChoiceExample", "rows"),
    Format("choices", "zoo_cli.data.reading:read_choices", NoOptions, "ChoiceExample", "rows"),
    Format("cail_scm", "zoo_cli.data.reading:read_cail_scm", NoOptions, "ChoiceExample", "rows"),
    Format("utc", "zoo_cli.data.reading:read_utc", NoOptions, "OptionExample", "rows"),
    Format("cmeee", "zoo_cli.data.corpora:read_cmeee", NoOptions, "AnnotatedText", "rows"),
    Format("spo", "zoo_cli.data.corpora:read_spo", SpoOptions, "AnnotatedText", "rows"),
    Format("nlu", "zoo_cli.data.corpora:read_nlu", NoOptions, "AnnotatedText", "rows"),
    Format("dialogue", "zoo_cli.data.dialogues:read_dialogue", NoOptions, "DialogueExample", "rows"),
    Format("kdconv", "zoo_cli.data.dialogues:read_kdconv", NoOptions, "DialogueExample", "list"),
    Format("lccc", "zoo_cli.data.dialogues:read_lccc", NoOptions, "DialogueExample"),
    Format("documents", "zoo_cli.data.documents:read_documents", DocumentOptions, "TextExample"),
)
