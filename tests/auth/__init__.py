"""Tokens, keys, grants, delegation and revocation."""
