"""What all commands do around their work: errors become one line on stderr and the documented exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from dtss.compiler.schedule.errors import EXIT_INTERNAL, UserError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_CLOSED_PIPE = 141  # 128 + SIGPIPE


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
        # The reader has gone; what Python flushes at exit must not meet the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CLOSED_PIPE
    except Exception as error:  # noqa: BLE001 - the last resort: a bug of ours gets its documented exit code
        if debug:
            traceback.print_exc()
        found = f"{type(error).__name__}: {error}"
        print(f"{program}: internal error: {found}; please report it with the output of --debug", file=sys.stderr)
        return EXIT_INTERNAL
    return code
