"""The log and the control stream on Redis."""
