"""The core without any I/O, driven by a script."""
