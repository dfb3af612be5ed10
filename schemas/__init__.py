"""The wire contract: messages of sockets and HTTP bodies, as values and pydantic models."""
