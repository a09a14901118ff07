"""Passes that take channels out of a model."""
