"""Passes that take away what a graph computes for nothing."""
