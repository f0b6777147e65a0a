"""Embeddings, chapter by chapter: the mathematics in NumPy.  Start with `python -m primer`."""
