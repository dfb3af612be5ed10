"""What the two Redis drivers share: client, background tasks, incident log."""
