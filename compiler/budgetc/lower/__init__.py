"""From an ONNX graph to kernel calls over one arena."""
