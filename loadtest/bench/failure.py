"""Why a measurement could not be made."""


class BenchError(Exception):
    """The bench cannot go on; its text says why and what to do, for a human."""
