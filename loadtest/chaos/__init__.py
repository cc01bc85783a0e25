"""Faults under load, on one machine: real processes, an open-loop client, and logs that are joined afterwards."""
