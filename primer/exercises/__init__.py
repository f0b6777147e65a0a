"""Exercises: what a right answer must satisfy, and the mistakes that people make.

One catalogue a chapter (`ch05_bm25.py`), read by `kit.catalogue("ch05_bm25")`.
"""
