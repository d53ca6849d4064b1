"""Bit-exact execution of a schedule with exact activity, and its cycles, traffic and energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtss.hwsim.api import run
    from dtss.hwsim.result import Result

__all__ = ["Result", "run"]


def __getattr__(name: str) -> Any:
    """Loaded when they are asked for, so that `--help` answers at once."""
    if name == "run":
        from dtss.hwsim.api import run

        return run
    if name == "Result":
        from dtss.hwsim.result import Result

        return Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
