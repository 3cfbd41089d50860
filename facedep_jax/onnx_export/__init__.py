"""A run as one ONNX file: both networks and the head, written, described and checked. Nothing here trains."""
