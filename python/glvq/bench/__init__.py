"""``glvq bench …``: the figures of the documentation, each from one command."""
