"""The cluster drivers: `local` (one process) and `redis`."""
