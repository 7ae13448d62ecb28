"""Trained models as ONNX files, which other programs run without PyTorch."""
