"""The one error a user is meant to read."""


class UserError(ValueError):
    """Input that cannot be used: the message names the file or field, the value, and the remedy, in one line.

    The command line prints the message and exits with code 2; from Python it is an ordinary `ValueError`.
    Anything else that is raised is a fault of roadcast's own and keeps its traceback.
    """
