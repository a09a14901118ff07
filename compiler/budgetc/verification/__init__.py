"""Differential verification: a library against references, on real and made-up inputs, down to the layer at fault."""
