"""What every service shares: start and stop, callers, protobuf over HTTP, fresh keys."""
