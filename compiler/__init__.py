"""dtss-compile: from a trained spiking network to an integer, pruned, tiled schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtss.compiler.frontend.torch_module import compile_module as compile  # noqa: A004 - the API's name

__all__ = ["compile"]


def __getattr__(name: str) -> Any:
    """`compile` loads torch only when it is asked for, so that `--help` answers at once."""
    if name == "compile":
        from dtss.compiler.frontend.torch_module import compile_module  # noqa: PLC0415 - see above

        return compile_module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
