"""How a reader looks at pictures: what they draw on them, the prior beside, checks of screens."""
