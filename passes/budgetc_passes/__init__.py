"""ONNX in, ONNX out: the passes, one family a folder."""
