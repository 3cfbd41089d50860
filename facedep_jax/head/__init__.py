"""Stage two: from the features of a cache to a trained head. It knows nothing of pictures or of files of pictures."""
