"""Origins: the connections to them, and how requests get one."""
