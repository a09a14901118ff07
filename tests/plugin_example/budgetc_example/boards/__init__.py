"""Boards of this plugin, one file each."""
