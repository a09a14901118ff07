"""Hardware: capability sheets, kernels, and ways to run what was built."""
