"""`edge up`: the whole system as child processes of one terminal, on the embedded default."""
