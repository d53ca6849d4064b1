"""The grammar of a liberty file: groups with attributes and groups in them.

    name (argument, …) { … }        a group
    name : value ;                  an attribute
    name (value, …) ;               an attribute with several values

Written here because the one package of the index that reads liberty files, liberty-parser, is under the GPL. Cells that
nobody asks for are skipped: of a library of 13 MB that leaves half a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?:\s|\\\r?\n|/\*.*?\*/)*(?:"(?P<string>(?:[^"\\]|\\.)*)"|(?P<mark>[(){}:;,])|(?P<word>[^\s(){}:;,"]+))""",
    re.DOTALL,
)
SPACE = re.compile(r"(?:\s|\\\r?\n|/\*.*?\*/)*", re.DOTALL)
BRACE = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|[{}]', re.DOTALL)


class LibertySyntaxError(Exception):
    """The text is not in the grammar; `line` says where."""

    def __init__(self, line: int, found: str) -> None:
        self.line, self.found = line, found
        super().__init__(f"line {line}: {found}")


@dataclass(frozen=True)
class Group:
    """One group. attributes: the values of each, that of a repeated one is its last."""

    kind: str
    arguments: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.arguments[0] if self.arguments else ""

    def of_kind(self, *kinds: str) -> Iterator[Group]:
        """The groups of these kinds that lie directly in it."""
        return (group for group in self.groups if group.kind in kinds)

    def text(self, attribute: str) -> str | None:
        """An attribute's first value."""
        values = self.attributes.get(attribute)
        return values[0] if values else None


def parse(text: str, wanted: Callable[[str], bool]) -> Group:
    """The library of the text, of its cells those with a wanted name."""
    return _Reader(text, wanted).library()


class _Reader:
    def __init__(self, text: str, wanted: Callable[[str], bool]) -> None:
        self.text, self.wanted, self.at = text, wanted, 0

    def library(self) -> Group:
        kind, arguments = self._value(), self._arguments()
        if kind != "library" or not self._take("{"):
            raise self._error(f"found {kind!r} where a library begins")
        library = Group(kind, arguments)
        self._body(library)
        return library

    def _body(self, group: Group) -> None:
        """Up to the brace that closes the group."""
        while not self._take("}"):
            if self._take(";"):
                continue
            name = self._value()
            if self._take(":"):
                group.attributes[name] = (self._expression(),)
                continue
            arguments = self._arguments()
            if not self._take("{"):
                self._take(";")
                group.attributes[name] = arguments
            elif name == "cell" and group.kind == "library" and not (arguments and self.wanted(arguments[0])):
                self._skip()
            else:
                inner = Group(name, arguments)
                group.groups.append(inner)
                self._body(inner)

    def _arguments(self) -> tuple[str, ...]:
        if not self._take("("):
            raise self._error("a name without a value")
        values: list[str] = []
        while not self._take(")"):
            if not self._take(","):
                values.append(self._expression())
        return tuple(values)

    def _expression(self) -> str:
        """Words up to the next mark: as a rule one, several where a formula stands without quotes."""
        words = [self._value()]
        line = self._line_end()
        while self.at < line:
            token = TOKEN.match(self.text, self.at)
            if token is None or token["mark"] or token.start(token.lastgroup or 0) >= line:
                break
            words.append(token["word"] or token["string"] or "")
            self.at = token.end()
        return " ".join(words)

    def _line_end(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end

    def _value(self) -> str:
        token = TOKEN.match(self.text, self.at)
        if token is None:
            raise self._error("the file ends in the middle of a group")
        if token["mark"]:
            raise self._error(f"found {token['mark']!r} where a name or a value belongs")
        self.at = token.end()
        return token["string"] if token["word"] is None else token["word"]

    def _take(self, mark: str) -> bool:
        token = TOKEN.match(self.text, self.at)
        if token is None:
            raise self._error("the file ends in the middle of a group")
        if token["mark"] != mark:
            return False
        self.at = token.end()
        return True

    def _skip(self) -> None:
        """Past the brace that closes a cell that is not wanted."""
        depth = 1
        while depth:
            brace = BRACE.search(self.text, self.at)
            if brace is None:
                raise self._error("the file ends in the middle of a cell")
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            self.at = brace.end()

    def _error(self, found: str) -> LibertySyntaxError:
        space = SPACE.match(self.text, self.at)
        at = self.at if space is None else space.end()
        return LibertySyntaxError(self.text.count("\n", 0, at) + 1, found)
