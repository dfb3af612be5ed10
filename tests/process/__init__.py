"""`gateway serve` and the command line, as processes."""
