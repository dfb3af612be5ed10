"""The gateway against a model, by random operations."""
