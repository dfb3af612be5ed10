"""The load client: thousands of WebSocket connections that count what they get, on one core."""
