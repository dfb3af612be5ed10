"""A gateway within another application."""
