"""The proxy: ends external tokens at the edge and hands services one signed identity."""
