"""Load tests with Locust: devices of five types that sign in, browse, switch profiles and sign out.

Locust replaces the sockets of the process that imports it. Here only `users.py` and `locustfile.py` do, which Locust
loads in processes of its own; everything else is plain Python, and is tested as such.
"""
