"""The engine: the running gateway, one module for each responsibility, independent of HTTP and drivers."""
