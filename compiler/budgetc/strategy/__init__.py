"""Strategies that train: structures that fit, the best of them taught, and the way there written down."""
