"""Exercises and slides, gathered from the notebooks."""

from __future__ import annotations


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
