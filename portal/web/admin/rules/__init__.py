"""A team's rules for arrivals, for administrators."""
