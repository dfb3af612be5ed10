"""The domain, pure: no event loop, clock, randomness, socket or third party; time comes in as an argument."""
