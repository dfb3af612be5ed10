"""The event contract: the JSON Schemas of event types, by version, their checks and what is derived from them."""
