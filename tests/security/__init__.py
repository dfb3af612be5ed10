"""Hostile tokens, messages, requests, floods, and the isolation of tenants."""
