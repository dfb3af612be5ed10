"""The client libraries at a real gateway."""
