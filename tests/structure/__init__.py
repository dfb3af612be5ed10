"""Rules of the repository: layers, the tests' own order, `dev.py`."""
