"""The clinical record of Pleura and its web face."""
