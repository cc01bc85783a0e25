"""The key management service: key sets by purpose, sealed at rest, handed out by identity (docs/keys.md)."""
