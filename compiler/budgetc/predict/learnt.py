"""What kernels usually take over their roofline: a start for machines on which nothing was measured yet.

Geometric means over the candidates of `python -m benchmarks.prediction --usual`, and of five recurrent layers, on one
core with AVX-512; those of 16 bits over single kernels, on a busier machine.
"""

USUAL = {
    "convolution 8": 1.8,
    "convolution 16": 1.6,
    "convolution 32": 1.5,
    "depthwise 8": 1.9,
    "depthwise 32": 1.2,
    "elementwise 8": 1.7,
    "elementwise 32": 2.1,
    "pooling 8": 1.6,
    "pooling 32": 1.1,
    "recurrent 8": 7.2,
    "recurrent 32": 2.3,
    "reduction 32": 1.1,
    "softmax 32": 2.1,
    "winograd 16": 1.5,
    "winograd 32": 0.73,
    "any": 1.5,
}
"""Seconds over `budgetc.predict.roofline.roofline`, by kind and width of the operands; `any` for all others.

Winograd's algorithm multiplies less than the roofline counts, and bfloat16 numbers as floats. Recurrent layers multiply
weights of 8 bits by three digits of each state.
"""
