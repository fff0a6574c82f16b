"""What readers yield and tasks take: one small class for each shape of labelled text."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo_cli.base.errors import Location


@dataclass(slots=True)
class Entity:
    """A labelled piece of text.

    Args:
        start: offset of the first character.
        end: offset after the last character.
        label: entity type.
        id: name that relations refer to; unique within its text.
        text: the characters, as the file states them; None where the format has offsets only.
    """

    start: int
    end: int
    label: str
    id: str
    text: str | None = None


@dataclass(slots=True)
class Relation:
    """A directed relation: `head` and `tail` are `Entity.id` values of the same text."""

    label: str
    head: str
    tail: str


@dataclass(slots=True)
class AnnotatedText:
    """A text with entities, relations and document labels, as annotation tools export it."""

    text: str
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    id: str | None = None
    source: Location | None = None


@dataclass(slots=True)
class Span:
    """An answer to a prompt.

    Args:
        start: offset of the first character in the content; in classification prompts negative, counted from the end
            of the prompt (PaddleNLP's convention).
        end: offset after the last character.
        text: the characters, as the file states them.
    """

    start: int
    end: int
    text: str


@dataclass(slots=True)
class PromptExample:
    """A (prompt, content) pair with the spans that answer it; PaddleNLP's ``{"content", "prompt", "result_list"}``."""

    content: str
    prompt: str
    spans: list[Span] = field(default_factory=list)
    source: Location | None = None


@dataclass(slots=True)
class TextExample:
    """A text, or a pair of texts, with a class name, several class names, or a score (regression)."""

    text: str
    text_pair: str | None = None
    label: str | list[str] | float | None = None
    id: str | None = None
    source: Location | None = None


@dataclass(slots=True)
class TaggedTokens:
    """Words or characters with one tag each, e.g. ``B-PER``."""

    tokens: list[str]
    tags: list[str] | None = None
    source: Location | None = None


@dataclass(slots=True)
class QuestionExample:
    """A question about a text, answered by a piece of it.

    Args:
        context: the text.
        question: the question.
        answers: gold answers, each as good as the other; empty for an impossible question and for one to be predicted.
            An answer that is not in the text has the offsets -1 and -1: it counts in evaluation, not in training.
        impossible: the text does not answer the question.
        id: name of the question.
        source: where it is from.
    """

    context: str
    question: str
    answers: list[Span] = field(default_factory=list)
    impossible: bool = False
    id: str | None = None
    source: Location | None = None


@dataclass(slots=True)
class ChoiceExample:
    """A question about a text with the answers to choose from.

    Args:
        context: the text; in cloze tests with a blank (``#idiom#``) that the choices fill.
        question: the question; empty in cloze tests.
        choices: the answers to choose from.
        answer: index of the right one, or None if it is not known.
        id: name of the question.
        source: where it is from.
    """

    context: str
    question: str
    choices: list[str]
    answer: int | None = None
    id: str | None = None
    source: Location | None = None


@dataclass(slots=True)
class OptionExample:
    """A text, or a pair of texts, with options of which any number hold; PaddleNLP's ``{"text_a", "text_b", "choices",
    "labels"}``.

    Args:
        text: the text.
        text_pair: the second text, or None.
        options: the options, spelt out in words.
        labels: numbers of those that hold, or None if they are not known.
        id: name of the text.
        source: where it is from.
    """

    text: str
    text_pair: str | None
    options: list[str]
    labels: list[int] | None = None
    id: str | None = None
    source: Location | None = None


@dataclass(slots=True)
class DialogueExample:
    """The turns of a dialogue and the response to them.

    Args:
        history: the turns before the response, the last one last; at least one.
        response: what is said next, or None where it is to be written.
        knowledge: what the speaker knows, one fact an item.
        persona: what the speaker is like, one sentence an item.
        roles: number of the speaker of each turn of `history` and of the response, or None where two take turns.
        source: where it is from.
    """

    history: list[str]
    response: str | None = None
    knowledge: list[str] = field(default_factory=list)
    persona: list[str] = field(default_factory=list)
    roles: list[int] | None = None
    source: Location | None = None


Example = (
    AnnotatedText
    | PromptExample
    | TextExample
    | TaggedTokens
    | QuestionExample
    | ChoiceExample
    | OptionExample
    | DialogueExample
)
"""Any of the classes above."""
