"""The one exception type that the command line shows without a traceback."""


class GLVQError(Exception):
    """Bad input: the message names what is wrong and what to do about it."""
