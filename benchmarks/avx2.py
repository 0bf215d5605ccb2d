"""Run a command as on a processor with AVX2 alone: no AVX-512, VNNI, bf16 or AMX.

    pip install capstone
    python benchmarks/avx2.py python benchmarks/speed.py --tables methods commands

Needs Linux on x86-64, root and a C compiler.

Environment variables such as ONEDNN_MAX_CPU_ISA do not reach all libraries: OpenVINO's int8 kernels ignore them. So
this script copies the installed shared libraries that contain the instruction CPUID, and replaces it in the copies by
UD2, an invalid instruction. A preloaded library (avx2.c) handles the signal of UD2: it executes CPUID and removes the
newer features from the answer. For the command alone, the copies are mounted over the originals, and a list without
these features over /proc/cpuinfo. Clock, caches and memory remain those of the machine.

The first run takes several minutes. Delete the folder of the copies after installing other versions.
"""

import argparse
import os
import re
import struct
import subprocess
import sysconfig
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
EXECUTABLE = 4
SORTED_OFFSETS = (0x03, 0x3B)
"""The encodings of .eh_frame_hdr's table that linkers write: a 4-byte count, 4-byte offsets from the section."""
NEWER = re.compile(r" (avx512\w*|avx_vnni\w*|amx_\w+|gfni|vaes|vpclmulqdq)\b")
"""Features in /proc/cpuinfo."""
MOUNT = """
mount -t overlay overlay -o "lowerdir=$1/libraries:$2" "$2" && mount --bind "$1/cpuinfo" /proc/cpuinfo || exit 1
export LD_PRELOAD="$1/avx2.so"
shift 2
exec "$@"
"""


class Section(NamedTuple):
    """A section of an ELF file."""

    flags: int
    address: int
    offset: int
    size: int


def sections(data: bytes) -> dict[str, Section]:
    """The sections of a 64-bit ELF file by name."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    strings = headers[names][4]

    def name(start: int) -> str:
        return data[strings + start : data.index(b"\0", strings + start)].decode()

    return {name(header[0]): Section(*header[2:]) for header in headers}


def functions(data: bytes, header: Section | None) -> list[int]:
    """The addresses of functions, sorted, from the section .eh_frame_hdr."""
    if header is None or tuple(data[header.offset + 2 : header.offset + 4]) != SORTED_OFFSETS:
        return []
    (count,) = struct.unpack_from("<I", data, header.offset + 8)
    pairs = struct.unpack_from(f"<{2 * count}i", data, header.offset + 12)
    return [header.address + offset for offset in pairs[::2]]


def cpuid_offsets(data: bytes) -> Iterator[int]:
    """Where a library has CPUID. The same bytes within other instructions do not count."""
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    known = sections(data)
    starts = functions(data, known.get(".eh_frame_hdr"))
    for section in known.values():
        if not section.flags & EXECUTABLE:
            continue
        end, shift = section.offset + section.size, section.address - section.offset
        at = data.find(CPUID, section.offset, end)
        while at >= 0:
            previous = bisect_right(starts, at + shift) - 1
            start = max(section.offset, starts[previous] - shift) if previous >= 0 else section.offset
            instructions = disassembler.disasm_lite(data[start : at + 2], start)
            if any((offset, name) == (at, "cpuid") for offset, _, name, _ in instructions):
                yield at
            at = data.find(CPUID, at + 1, end)


def copy_libraries(source: Path, target: Path) -> None:
    """Copy the libraries below `source` that contain CPUID to `target`, with UD2 in its place."""
    for path in source.rglob("*.so*"):
        data = bytearray(path.read_bytes()) if path.is_file() and not path.is_symlink() else bytearray()
        offsets = list(cpuid_offsets(bytes(data))) if data[:5] == b"\x7fELF\x02" else []
        if offsets:
            for offset in offsets:
                data[offset : offset + 2] = UD2
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=Path, default=Path("/var/tmp/tinysr-avx2"), help="folder of the copies")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    folder: Path = arguments.copies
    packages, libraries = sysconfig.get_path("platlib"), folder / "libraries"
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / "avx2.so", source], check=True)
    (folder / "cpuinfo").write_text(NEWER.sub("", Path("/proc/cpuinfo").read_text()))
    if not libraries.exists():
        unfinished = folder / "unfinished"
        copy_libraries(Path(packages), unfinished)
        unfinished.rename(libraries)
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", MOUNT, "sh", str(folder), packages, *arguments.command])


if __name__ == "__main__":
    main()
