"""What operators and Prometheus see: metrics and health, on a listener of its own."""
