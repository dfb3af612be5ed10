"""The contract of each seam, kept by each implementation."""
