"""What the compiler refuses, with where, what was found and what to do."""

from __future__ import annotations

from dtss.compiler.schedule.errors import UnsupportedError


class CompileError(UnsupportedError):
    """A model that cannot be lowered exactly, or that does not fit the hardware."""
