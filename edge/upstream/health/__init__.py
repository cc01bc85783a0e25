"""Whether an address of an origin can serve, by asking it. docs/resilience.md, Active health checks."""
