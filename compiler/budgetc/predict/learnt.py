"""What kernels usually take over their roofline: a start for machines on which nothing was measured yet.

Geometric means over the kernels of eight models in float, seven of them in int8 too and two in bfloat16, on one core
with AVX-512 of a busy machine; those of recurrent layers of 8 bits over five layers, that of attention over five sizes.
"""

USUAL = {
    "attention 32": 1.2,
    "convolution 8": 1.2,
    "convolution 16": 1.6,
    "convolution 32": 1.5,
    "depthwise 8": 0.78,
    "depthwise 32": 0.97,
    "elementwise 8": 1.1,
    "elementwise 32": 0.74,
    "matmul 32": 1.3,
    "normalisation 32": 1.2,
    "pooling 8": 1.4,
    "pooling 32": 1.1,
    "recurrent 8": 7.2,
    "recurrent 32": 2.3,
    "reduction 32": 1.1,
    "softmax 32": 1.2,
    "winograd 16": 1.0,
    "winograd 32": 0.55,
    "any": 1.1,
}
"""Seconds over `budgetc.predict.roofline.roofline`, by kind and width of the operands; `any` for all others.

Winograd's algorithm multiplies less than the roofline counts, and bfloat16 numbers as floats. Recurrent layers multiply
weights of 8 bits by three digits of each state.
"""
