"""A closed schema in numbers: which output of the model stands for which name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zoo_cli.base.errors import DataError
from zoo_cli.tasks.extraction.schema import Node, class_options, normalize


@dataclass(frozen=True, slots=True)
class Slot:
    """A name of the schema.

    Args:
        name: as the user spelt it; results bear it as key.
        path: with the names above it, e.g. ``人物.任职于``.
        kind: number of its kind of spans; of a class that of its first option.
        link: number of its kind of links, from a span of the name above; None at the root and for classes.
        options: of a class, in the order of their kinds. A class of a span is a kind of that same span, a class of the
            whole text one of the first token, which is ``[CLS]``.
        children: what belongs to each of its spans.
    """

    name: str
    path: str
    kind: int
    link: int | None
    options: tuple[str, ...]
    children: tuple[Slot, ...]


def key_of(name: str) -> str:
    """What two spellings of the same name have in common: width of the characters, and order of the options."""
    plain = normalize(name)
    options = class_options(plain)
    return f"{plain[: plain.rindex('[')]}[{','.join(sorted(options))}]" if options else plain


class Layout:
    """All names of a schema.

    Args:
        nodes: the schema.

    Attributes:
        slots: its roots.
        kinds: names of the kinds of spans.
        links: names of the kinds of links.
        ends_of: for each kind of links the kinds of spans at its head and at its tail.
        of_texts: kinds that are classes of the whole text.

    Raises:
        DataError: something is asked about a class (`bad-schema`).
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.kinds: list[str] = []
        self.links: list[str] = []
        self.ends_of: list[tuple[int, int]] = []
        self.slots = tuple(self._slot(node, None, "") for node in nodes)
        self.of_texts = frozenset(slot.kind + index for slot in self.slots for index in range(len(slot.options)))

    def _slot(self, node: Node, above: int | None, prefix: str) -> Slot:
        path = prefix + node.name
        options = tuple(class_options(normalize(node.name)))
        kind, link = len(self.kinds), None
        if options and node.children:
            raise DataError("bad-schema", "nothing can be asked about the class {name!r}", name=node.name)
        if options:
            self.kinds += [f"{path}.{option}" for option in options]
        else:
            self.kinds.append(path)
            if above is not None:
                link = len(self.links)
                self.links.append(path)
                self.ends_of.append((above, kind))
        children = tuple(self._slot(child, kind, f"{path}.") for child in node.children)
        return Slot(node.name, path, kind, link, options, children)

    def select(self, nodes: Sequence[Node]) -> tuple[Slot, ...]:
        """The slots of a part of the schema, under the names that the part has.

        Raises:
            DataError: the schema does not have a name (`outside-schema`).
        """
        return _select(self.slots, nodes)


def _select(slots: Sequence[Slot], nodes: Sequence[Node]) -> tuple[Slot, ...]:
    known = {key_of(slot.name): slot for slot in slots}
    chosen = []
    for node in nodes:
        slot = known.get(key_of(node.name))
        if slot is None:
            raise DataError(
                "outside-schema",
                "the model does not extract {name!r}" if known else "the model extracts nothing below this: {name!r}",
                fix="it extracts: {names}" if known else None,
                name=node.name,
                names=", ".join(slot.name for slot in slots),
            )
        chosen.append(replace(slot, name=node.name, children=_select(slot.children, node.children)))
    return tuple(chosen)
