"""The origin stubs, over real sockets."""
