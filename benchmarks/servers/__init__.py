"""The servers under test that are scripts of our own, each a process."""
