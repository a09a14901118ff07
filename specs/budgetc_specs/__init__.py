"""What a user may declare, as values that are checked once and then only read."""
