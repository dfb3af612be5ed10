"""The wire contract: what crosses a socket or an HTTP body, as values and pydantic models."""
