"""The package configuration for CMake: `find_package(budgetc CONFIG)` with `budgetc_DIR` set to this folder."""
