"""Two depths of fuzzing: quick with every run, deep with `make fuzz`."""

from hypothesis import settings

settings.register_profile("quick", deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile("quick")
