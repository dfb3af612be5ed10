"""The server process: uvicorn, logging, garbage collector, development mode."""

from gateway.server.tuning import tune_gc

__all__ = ["tune_gc"]
