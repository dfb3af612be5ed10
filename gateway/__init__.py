"""The gathering gateway: one tenant, one log; one client, one cursor."""
