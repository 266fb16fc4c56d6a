"""The data of the viewer: what hangs beside a picture, and what was drawn on it."""
