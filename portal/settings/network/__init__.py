"""Settings of listeners for other systems."""
