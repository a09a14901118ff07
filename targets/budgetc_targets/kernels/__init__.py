"""Kernel families, one file each, written as explicit vector code in TVM's tensor IR."""
