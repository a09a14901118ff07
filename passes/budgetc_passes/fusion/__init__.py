"""Passes that draw neighbouring operators together."""
