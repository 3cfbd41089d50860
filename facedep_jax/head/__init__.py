"""The model and its use: features in, logits and probabilities out. It knows no pictures, nor how it is trained.

Nothing is imported here, so that the names of sizes and kinds can be read without loading jax.
"""

SIZES = {"tiny": (32, 2, 1), "base": (64, 4, 1), "large": (128, 8, 4)}  # width of a token, attention heads, blocks
TEMPORAL = ("none", "transformer", "gru")  # what mixes the frames of a clip
POOLING = ("mean", "attention")  # what makes one of the windows of a clip
