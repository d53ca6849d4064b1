"""What is wrong with a file that the user gave."""


class InputError(Exception):
    """A file that cannot be used: `what` is wrong, `where` in it, what was `found`, a `hint`."""

    def __init__(self, what: str, where: str, found: str, hint: str) -> None:
        super().__init__(f"{where}: {what}: found {found}; {hint}")
        self.what, self.where, self.found, self.hint = what, where, found, hint
