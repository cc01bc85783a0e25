"""How tokens of each kind get onto a response: docs/actions.md, "A new kind"."""
