"""State machines for calls to what may fail: pure, and shared by the edge and its services."""
