"""The subscriber service, as a stub: who is a paying member."""
