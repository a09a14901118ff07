"""A result for machines that watch: JUnit, SARIF, Markdown and plain tables, each made of the result's JSON alone."""
