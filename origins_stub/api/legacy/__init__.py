"""The API origin as it was before the edge ended tokens: it opens cookies, and sets them. docs/rollout.md."""
