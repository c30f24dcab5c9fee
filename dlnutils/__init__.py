"""Learning dynamics of deep linear networks: exact solutions, mean-field solvers, and the tools of the book.

Import the module you need, for example ``from dlnutils import saddles``; nothing heavy is loaded before.
"""

__version__ = "0.1.0"
