"""The report of a compilation as one HTML page, drawn from the result's JSON and nothing else."""
