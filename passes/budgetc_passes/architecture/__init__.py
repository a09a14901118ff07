"""Passes that put cheaper layers in place of a model's own, set to come near to what those compute."""
