"""Run commands in a terminal and draw what they print as an SVG, for the documentation.

    python tools/terminal_picture.py docs/images/terminal.svg 'tinysr upscale holiday' 'tinysr models'

Run it in the folder that the commands are to see. POSIX only.
"""

import argparse
import io
import os
import pty
import re
import subprocess
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 100


def output_of(command: str) -> str:
    """What a command prints on a terminal, bars that it has taken back left out."""
    ours, its = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    with subprocess.Popen(["bash", "-c", command], stdout=its, stderr=its, env=environment):
        os.close(its)
        printed = b""
        try:
            while part := os.read(ours, 65536):
                printed += part
        except OSError:  # how Linux says that the other end is closed
            pass
    lines = printed.decode().replace("\r\n", "\n").split("\n")
    # Only the last version of a rewritten line stays. A progress bar is erased at the end.
    last = [re.split(r"\r|\x1b\[2K|\x1b\[1A", line)[-1] for line in lines]
    return "\n".join(line for line in last if "time left" not in line).strip("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("commands", nargs="+")
    arguments = parser.parse_args()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in arguments.commands:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(output_of(command)))
    svg = console.export_svg(title="TinySR", theme=MONOKAI, unique_id="terminal")
    arguments.output.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    main()
