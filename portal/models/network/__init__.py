"""Tables of what Pleura exchanges with other systems."""
