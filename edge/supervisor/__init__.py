"""Keeps one worker process per slot alive, and answers for all of them on the admin listener."""
