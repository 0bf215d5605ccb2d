"""How long work tells that it goes on."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the number of parts that are done, and the total. An exception that it raises cancels the work."""
