"""The callback that reports progress."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the number of parts done, and the total. An exception that it raises cancels the work."""
