"""Unit tests of the client libraries."""
