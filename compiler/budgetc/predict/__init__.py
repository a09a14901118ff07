"""What a library will be, before it is built: size and memory exactly, latency as far as measurements tell."""
