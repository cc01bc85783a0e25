"""Where an origin listens, when the configuration leaves that to a file or to DNS. docs/resilience.md, Discovery."""
