"""A package, so that fixtures of that scope end with it: in a plain folder they outlive it."""
