"""What the edge costs and how it grows, measured on this machine: docs/performance.md."""
