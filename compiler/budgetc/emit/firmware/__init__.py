"""Programs for cores without an operating system: linked for a board, started by its vector table."""
