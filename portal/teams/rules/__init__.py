"""What becomes of pictures that arrive: a team's ordered list of rules."""
