"""Figures of the library that ships: size, memory, latency, quality, agreement."""
