"""When checks that go well or badly make an address healthy or unhealthy. Pure."""


class Thresholds:
    """The health of one address: healthy until `unhealthy_after` bad checks in a row, and from `healthy_after` good."""

    __slots__ = ("_against", "_healthy_after", "_unhealthy_after", "healthy")

    def __init__(self, healthy_after: int, unhealthy_after: int) -> None:
        self._healthy_after = healthy_after
        self._unhealthy_after = unhealthy_after
        self._against = 0  # checks in a row that speak against the present state
        self.healthy = True

    def note(self, *, good: bool) -> bool:
        """Take one check; return whether the health has changed with it."""
        if good is self.healthy:
            self._against = 0
            return False
        self._against += 1
        if self._against < (self._unhealthy_after if self.healthy else self._healthy_after):
            return False
        self._against = 0
        self.healthy = good
        return True
