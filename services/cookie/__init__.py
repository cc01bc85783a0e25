"""The cookie service: makes the cookie pair at sign-in and renews it while the user is a member (docs/services.md)."""
