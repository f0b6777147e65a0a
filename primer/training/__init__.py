"""Word vectors from a text file: the corpus on disk (corpus.py), a long run in blocks (run.py)."""
