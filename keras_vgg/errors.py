"""The exception for user errors."""


class InputError(ValueError):
    """Invalid input, described in one line: what was expected, what was received and how to fix it.

    Library code raises it like any `ValueError`; a command prints only that line and exits with 2, so a traceback always
    means a bug.
    """
