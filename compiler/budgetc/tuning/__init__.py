"""Tuning: which point of its space each kernel is fastest at, measured on this machine."""
