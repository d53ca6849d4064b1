"""The errors a user can cause, each with the documented exit code of the command that meets it."""

from __future__ import annotations

EXIT_OK = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_UNSUPPORTED = 4
EXIT_INTERNAL = 70


class UserError(Exception):
    """Something outside the tool is wrong: says where, what was found there, and what to do about it."""

    exit_code = EXIT_INTERNAL

    def __init__(self, where: str, found: str, hint: str) -> None:
        self.where, self.found, self.hint = where, found, hint
        super().__init__(f"{where}: {found}; {hint}")


class BadInputError(UserError):
    """A file that cannot be read, is damaged, or contradicts itself."""

    exit_code = EXIT_BAD_INPUT


class CheckFailedError(UserError):
    """A check that the user asked for did not hold."""

    exit_code = EXIT_CHECK_FAILED


class UnsupportedError(UserError):
    """A sound model that this tool cannot lower, or that does not fit the hardware."""

    exit_code = EXIT_UNSUPPORTED
