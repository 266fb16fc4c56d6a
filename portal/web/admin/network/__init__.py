"""Pages about systems that exchange data with the portal."""
