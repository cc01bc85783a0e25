"""The auth service, as a stub: checks credentials and answers with a Passport that says who signed in."""
