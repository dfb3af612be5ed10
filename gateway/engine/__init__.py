"""The running gateway: one module for each responsibility, none of which knows HTTP or a driver."""
