"""The ASGI servers and reverse proxies that the documentation names."""
