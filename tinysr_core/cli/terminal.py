"""Messages to the user. Results for scripts go to stdout, everything else to stderr."""

import sys


def say(text: str) -> None:
    """Print a message that is not a result."""
    print(text, file=sys.stderr)


def sides(size: tuple[int, int]) -> str:
    """A size (width, height) in pixels as text: `400 x 300`."""
    return f"{size[0]} x {size[1]}"


def duration(seconds: float) -> str:
    """An estimated time as text, in seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
