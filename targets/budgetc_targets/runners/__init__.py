"""Ways to execute a program that was linked for a target."""
