"""What torch.save wrote, read without running anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from dtss.compiler.schedule.errors import BadInputError
from dtss.models.checkpoint import RETRAIN, CheckpointError, read_archive


def read_payload(path: Path, again: str = f"copy it again or {RETRAIN}") -> object:
    """The content of a file; of Python's classes only timm's own, argparse.Namespace, is let through."""
    try:
        return read_archive(path, (argparse.Namespace,), again)
    except CheckpointError as error:
        raise bad_input(error) from None


def bad_input(error: CheckpointError) -> BadInputError:
    """The error in the compiler's form."""
    return BadInputError(error.where, f"{error.what}: found {error.found}", error.hint)
