"""Passes that make a model larger without changing what it computes, so that training can make it better."""
