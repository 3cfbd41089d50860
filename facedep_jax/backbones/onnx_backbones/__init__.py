"""Networks of the user's own, as ONNX files: asked for, checked, and made ready for the engines. They know no faces.

Nothing is imported here: options (`options`) can be read without loading onnx.
"""
