"""The onnx package's own backend cases through the whole product: one verdict a case, one table an operator."""
