"""The nodes that share a log: `local` (this process alone) and `redis`."""
