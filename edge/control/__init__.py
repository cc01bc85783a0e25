"""The configuration: read once, checked as a whole, frozen into one snapshot. docs/configuration.md has every key."""
