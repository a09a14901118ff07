"""Which candidates are tried, in which order, and when to stop."""
