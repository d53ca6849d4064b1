"""Logic formulas of liberty files: !A and A' are not, ^ xor, & * and a space and, | + or; the first bind most."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]

TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_][\w\[\]]*)|(?P<number>[01])|(?P<mark>[!'^&*|+()]))")


class FormulaError(Exception):
    """Not a formula of these inputs."""


def truth_table(formula: str, inputs: Sequence[str]) -> Truth:
    """The formula's value [2^n] for each state of its inputs: bit i of the index is inputs[i]."""
    states = np.arange(1 << len(inputs))
    values = {name: (states >> index & 1).astype(np.bool_) for index, name in enumerate(inputs)}
    return _Formula(formula, values, len(states)).whole()


def names_of(formula: str) -> tuple[str, ...]:
    """The inputs that a formula names, in the order of their first use."""
    return tuple(dict.fromkeys(re.findall(r"[A-Za-z_][\w\[\]]*", formula)))


class _Formula:
    def __init__(self, text: str, values: dict[str, Truth], states: int) -> None:
        self.text, self.values, self.states, self.at = text.rstrip(), values, states, 0

    def whole(self) -> Truth:
        result = self._or()
        if self.at < len(self.text):
            raise FormulaError(f"{self.text!r}: {self.text[self.at :]!r} does not belong there")
        return result

    def _or(self) -> Truth:
        result = self._and()
        while self._take("|") or self._take("+"):
            result = result | self._and()
        return result

    def _and(self) -> Truth:
        result = self._xor()
        while self._take("&") or self._take("*") or self._operand_follows():
            result = result & self._xor()
        return result

    def _xor(self) -> Truth:
        result = self._not()
        while self._take("^"):
            result = result ^ self._not()
        return result

    def _not(self) -> Truth:
        if self._take("!"):
            return ~self._not()
        result = self._operand()
        while self._take("'"):
            result = ~result
        return result

    def _operand(self) -> Truth:
        if self._take("("):
            result = self._or()
            if not self._take(")"):
                raise FormulaError(f"{self.text!r}: a parenthesis is not closed")
            return result
        token = TOKEN.match(self.text, self.at)
        if token is None or token["mark"]:
            raise FormulaError(f"{self.text!r} is no formula")
        self.at = token.end()
        if token["number"]:
            return np.full(self.states, token["number"] == "1")
        if token["name"] not in self.values:
            raise FormulaError(f"{self.text!r}: {token['name']} is no input")
        return self.values[token["name"]]

    def _operand_follows(self) -> bool:
        token = TOKEN.match(self.text, self.at)
        return token is not None and (token["mark"] is None or token["mark"] in "!(")

    def _take(self, mark: str) -> bool:
        token = TOKEN.match(self.text, self.at)
        if token is None or token["mark"] != mark:
            return False
        self.at = token.end()
        return True
