"""Text of HTML."""

from __future__ import annotations

from html.parser import HTMLParser

_BREAKS = frozenset(("br", "p", "div", "li", "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "hr"))
_HIDDEN = frozenset(("script", "style"))


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _HIDDEN and self._hidden > 0
        self._break(tag)

    def _break(self, tag: str) -> None:
        if tag in _BREAKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def text_of_html(document: str) -> str:
    """The text of a document with HTML tags, on one line: tags, comments, scripts and styles are left out, and what
    begins a new line in a browser parts words."""
    parser = _Text()
    parser.feed(document)
    parser.close()
    return " ".join("".join(parser.parts).split())
