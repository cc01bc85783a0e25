"""Guards of what the edge calls, and of itself: pure state machines that are told of calls and say which may run."""
