"""The API origin, as a stub: what stands behind the edge and knows users by their Passport only."""
