"""Diagnostics of a running gateway: log events, their rate limit, redaction of credentials."""
