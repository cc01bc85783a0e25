"""The cookie service: makes the cookie pair at sign-in, renews it while the user is a member, and revokes it.

See docs/services.md.
"""
