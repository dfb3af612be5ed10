"""Unit tests: the tree mirrors that of the source."""
