"""`python -m budgetc` is the command line."""

from budgetc.cli.start import main

main()
