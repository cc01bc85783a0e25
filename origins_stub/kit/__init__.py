"""What every stub needs to be a process: arguments, a listening socket, readiness, signals, keys."""
