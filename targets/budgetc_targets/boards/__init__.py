"""Boards by name, one file each: what `board: NAME` in a spec stands for."""
