"""Colour tags as an ICC profile (ICC.1:2022), for formats that have no colour tags. Codes are those of ITU-T H.273."""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .picture import ColourTags

_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    4: (0.670, 0.330, 0.210, 0.710, 0.140, 0.080, *_C),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
"""Code -> x and y of red, green, blue and white."""

_SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_SRGB_GAMMA = 45455
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def is_srgb(tags: ColourTags) -> bool:
    """Whether `tags` are empty or describe sRGB, the default for files without tags."""
    if tags.cicp is not None:
        return tags.cicp[:2] in {(1, 13), (2, 2)} and tags.cicp[3] == 1
    if tags.srgb is not None:
        return True
    stated = tags.chromaticities or _SRGB_CHROMATICITIES
    near_srgb = all(abs(a - b) <= 100 for a, b in zip(stated, _SRGB_CHROMATICITIES, strict=True))
    return near_srgb and abs((tags.gamma or _SRGB_GAMMA) - _SRGB_GAMMA) <= 100


def profile_of(tags: ColourTags, grey: bool) -> bytes | None:
    """An ICC profile (version 4) equivalent to `tags`, for grey or RGB samples; None where there is no equivalent."""
    cicp = tags.cicp
    try:
        if cicp is not None:
            primaries, curve = _PRIMARIES.get(cicp[0]), _curve(cicp[1])
        else:
            values = [value / 100_000 for value in tags.chromaticities or _SRGB_CHROMATICITIES]
            primaries = (*values[2:], *values[:2])
            curve = _curve(13) if tags.gamma is None else _gamma_curve(100_000 / tags.gamma)
        if primaries is None or curve is None or (cicp is not None and not cicp[3]):
            return None
        return _profile(primaries, curve, grey, cicp)
    except (np.linalg.LinAlgError, ArithmeticError, ValueError, struct.error):
        return None  # impossible chromaticities, or a curve out of range


def _profile(primaries: tuple[float, ...], curve: bytes, grey: bool, cicp: tuple[int, int, int, int] | None) -> bytes:
    to_xyz, adaptation = _matrices(primaries)
    tags: list[tuple[bytes, bytes]] = [
        (b"desc", _text("Made from the picture's colour tags")),
        (b"cprt", _text("No copyright")),
        (b"wtpt", _xyz(_D50)),
        (b"chad", b"sf32\0\0\0\0" + b"".join(map(_fixed, adaptation.ravel()))),
    ]
    if grey:
        tags.append((b"kTRC", curve))
    else:
        tags += [(name + b"XYZ", _xyz(to_xyz[:, index])) for index, name in enumerate((b"r", b"g", b"b"))]
        tags += [(name + b"TRC", curve) for name in (b"r", b"g", b"b")]
        if cicp is not None:
            tags.append((b"cicp", b"cicp\0\0\0\0" + bytes(cicp)))
    start = 128 + 4 + 12 * len(tags)
    directory, body, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for name, data in tags:
        if data not in places:
            places[data] = start + len(body)
            body += data.ljust(-(-len(data) // 4) * 4, b"\0")
        directory += struct.pack(">4sII", name, places[data], len(data))
    header = struct.pack(">I4sI4s4s4s12x4s", start + len(body), b"\0" * 4, 0x04400000, b"mntr",
                         b"GRAY" if grey else b"RGB ", b"XYZ ", b"acsp")  # fmt: skip
    return header.ljust(68, b"\0") + _xyz(_D50)[8:] + bytes(48) + directory + body


def _matrices(primaries: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices: linear RGB to XYZ under D50, and the adaptation to D50 (Bradford)."""
    columns = [np.array([x / y, 1.0, (1 - x - y) / y]) if y else np.array([x, y, 1 - x - y])
               for x, y in zip(primaries[::2], primaries[1::2], strict=True)]  # fmt: skip
    white = columns[3]
    colours = np.stack(columns[:3], 1)
    to_xyz = colours * np.linalg.solve(colours, white)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    adaptation = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD
    return adaptation @ to_xyz, adaptation


def _curve(transfer: int) -> bytes | None:
    """The ICC curve from encoded to linear values for a code; None for codes without one."""
    match transfer:
        case 1 | 6 | 11 | 12 | 14 | 15:
            return _parametric(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
        case 4:
            return _gamma_curve(2.2)
        case 5:
            return _gamma_curve(2.8)
        case 7:
            return _parametric(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0913)
        case 8:
            return _gamma_curve(1.0)
        case 13:
            return _parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        case 16:
            return _sampled(_pq)
        case 17:
            return _gamma_curve(2.6)
        case 18:
            return _sampled(_hlg)
        case _:
            return None


def _pq(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, from encoded to linear values; 1 is 10,000 cd/m²."""
    root = values ** (32 / 2523)
    return (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)


def _hlg(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100, from encoded values to scene light in [0,1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12).clip(0, 1)


def _sampled(curve: _Curve) -> bytes:
    samples = np.rint(curve(np.linspace(0, 1, 4096)) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(samples)) + samples.tobytes()


def _gamma_curve(exponent: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(exponent)


def _parametric(*values: float) -> bytes:
    """y = (a x + b) ** g from d on, c x below; values are g, a, b, c, d."""
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
