"""What all commands share: numbers on the command line, and how an error ends: one line on stderr, an exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Callable

from dtss.compiler.schedule.errors import EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_UNSUPPORTED, UserError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_CLOSED_PIPE = 141  # 128 + SIGPIPE
LARGEST_NUMBER = 999_999_999
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def positive(text: str) -> int:
    """A whole number above 0, as an argparse type."""
    return _whole_number(text, 1)


def index(text: str) -> int:
    """A whole number, 0 among them, as an argparse type."""
    return _whole_number(text, 0)


def _whole_number(text: str, lowest: int) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_NUMBER))
    if not digits or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {LARGEST_NUMBER}")
    return int(text)


def run_command(program: str, run: Callable[[], int], debug: bool) -> int:
    """The exit code of `run`, or of the error it ended in; with `debug` an internal error shows its traceback."""
    try:
        code = run()
        sys.stdout.flush()
    except UserError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_standard_output()  # the reader has gone
        return EXIT_CLOSED_PIPE
    except MemoryError as error:
        found = f"this machine has too little ({str(error) or 'nothing is left'})"
        print(f"{program}: error: memory: {found}; use a smaller model or fewer images", file=sys.stderr)
        return EXIT_UNSUPPORTED
    except Exception as error:  # noqa: BLE001 - the last resort: a bug of ours gets its documented exit code
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            return _full_disk(program, error)
        if debug:
            traceback.print_exc()
        found = f"{type(error).__name__}: {error}"
        print(f"{program}: internal error: {found}; please report it with the output of --debug", file=sys.stderr)
        return EXIT_INTERNAL
    return code


def _full_disk(program: str, error: OSError) -> int:
    """An error without a name is one of a stream: every file that is a result is written by `io`, which names it."""
    where = error.filename or "standard output"
    print(
        f"{program}: error: {where}: cannot be written ({error.strerror}); free space or choose another place",
        file=sys.stderr,
    )
    if error.filename is None:
        _forget_standard_output()
    return EXIT_BAD_INPUT


def _forget_standard_output() -> None:
    """What Python flushes at exit must not meet the closed pipe or the full disk again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
