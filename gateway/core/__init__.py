"""The domain, pure: no event loop, clock, randomness or socket; time is an argument. Of other packages only the cipher
of cursors (`cryptography`)."""
