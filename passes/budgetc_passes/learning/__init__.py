"""Passes that train a model on samples; they need torch, which the extra `learn` installs."""
