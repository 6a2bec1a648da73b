"""The one exception that stands for a user's mistake."""


class InputError(ValueError):
    """Input that cannot be used, told in one line: what was expected, what came and how to mend it.

    Library code raises it like any `ValueError`; a command prints that line alone and exits with 2, so a traceback always
    means a bug.
    """
