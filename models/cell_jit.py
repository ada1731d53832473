"""What the compiled march is made of: the decorator with its cache, the scratch array, and a logarithm that vectorises.

* One flat scratch array per design holds every vector, each in a row of ``STRIDE`` numbers. Rows at constant distances
  of one array are what lets LLVM prove that the loops over nodes may be vectorised. The first slot of a row stays zero,
  so that the neighbour of the first node can be read.
* ``log`` is fdlibm's logarithm written without branches: the one transcendental of a Newton iteration (asinh),
  vectorised without a vector library. A maximum is taken over bit patterns, which vectorises and catches NaN.
* Compiled code is cached where ``models.cell_compiled`` says.
"""

import os
from typing import Any, Final

import numba
from llvmlite import ir  # type: ignore[import-untyped]  # llvmlite ships no types
from numba import types
from numba.extending import intrinsic

from models.cell_compiled import cache_directory

MAX_NODES: Final = 62
STRIDE: Final = MAX_NODES + 2

# Mesh: distances, transfer (lower, diagonal, upper). State: lithiation and the two modes, now and one step back; local
# current now and one back; surface lithiation now, one and two back.
_ROWS = (
    "dl du tl td tu c cm y0 y0m y1 y1m w wm s1 s2 s3 "
    # One Newton iteration: source of T, R/|D|, base of s, unknown w, s, G, 1/D, dG/ds, width of asinh, dG/dh, step in w
    "q k base x s g di gs rt gh dx "
    # Tridiagonal system, its right side, elimination factor and solution; the first solution of a bordered system
    "lo d up r f psi psb"
).split()
(
    DL, DU, TL, TD, TU, C, CM, Y0, Y0M, Y1, Y1M, W, WM, S1, S2, S3,
    Q, K, BASE, X, S, G, DI, GS, RT, GH, DX,
    LO, D, UP, R, F, PSI, PSB,
) = (row * STRIDE + 1 for row in range(len(_ROWS)))  # fmt: skip
SIZE: Final = len(_ROWS) * STRIDE

_config: Any = numba.config


def jit(function: Any) -> Any:
    """Compile at first use; cached where the cache directory can be written, else compiled in every process.

    Sums may be taken in another order than written (so that they vectorise), the same one every time.
    """
    target = cache_directory()
    try:
        target.mkdir(parents=True, exist_ok=True)
        cached = os.access(target, os.W_OK)
    except OSError:
        cached = False
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(target)  # read where a function is decorated
    try:
        return numba.njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"}, cache=cached, nogil=True)(
            function
        )
    finally:
        _config.CACHE_DIR = before


def _bits(typing_context: Any, x: Any) -> Any:
    return types.int64(types.float64), lambda c, builder, s, a: builder.bitcast(a[0], ir.IntType(64))


def _from_bits(typing_context: Any, x: Any) -> Any:
    return types.float64(types.int64), lambda c, builder, s, a: builder.bitcast(a[0], ir.DoubleType())


bits: Any = intrinsic(_bits)
"""The 64 bits of a float as an integer (compiled code only)."""
from_bits: Any = intrinsic(_from_bits)
"""The float with these 64 bits (compiled code only)."""


@jit
def log(x: float) -> Any:
    """Natural logarithm of a normal x > 0 to 1 ulp (fdlibm's e_log.c)."""
    i = bits(x)
    k = (i - 0x3FE6A09E667F3BCD) & 0x7FF0000000000000  # exponent that brings x into [0.71, 1.41]
    exponent = from_bits((k >> 52) | 0x4330000000000000) - 4503599627370496.0
    f = from_bits(i - k) - 1.0
    s = f / (2.0 + f)
    z = s * s
    r = 0.1531383769920937332 + z * 0.1479819860511658591
    r = 0.2222219843214978396 + z * (0.1818357216161805012 + z * r)
    r = 0.6666666666666735130 + z * (0.3999999999940941908 + z * (0.2857142874366239149 + z * r))
    return exponent * 0.6931471805599453 + (2.0 * s + s * (z * r))
