"""The domain, pure: no event loop, clock, randomness or socket; time is an argument. The one third-party import is the
cipher of cursors (`cryptography`)."""
