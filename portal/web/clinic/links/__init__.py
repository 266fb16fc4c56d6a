"""Links from other systems into an exam."""
