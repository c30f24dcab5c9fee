"""Sphinx extensions of the book, one directive or hook a module."""
