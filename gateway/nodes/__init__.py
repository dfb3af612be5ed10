"""The ways from node to node, one driver each."""
