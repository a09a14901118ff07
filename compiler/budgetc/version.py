"""The version of budgetc, the one place that says it: pyproject.toml and the command line read it here."""

VERSION = "0.1.0"
