"""Memory that ran out, told in a sentence: each library says it in its own way, and none of them says what to do."""

from __future__ import annotations

import mmap
import resource

ERRORS = (MemoryError, RuntimeError, ImportError, OSError)
"""What is raised where memory runs out: by Python and numpy, by torch, by a library that cannot be loaded, by the system."""
_WORDS = (
    "can't allocate memory",  # torch's allocator
    "cannot allocate memory",  # the system (ENOMEM)
    "failed to map segment",  # the loader of shared libraries
    "bad_alloc",  # C++
    "can't start new thread",  # no room for another stack
    "out of memory",
)


LAST_WORDS_BYTES = 1 << 20
"""Held by a command while it runs and given back before it says that memory ran out, which needs some itself."""
FIT_MIB = 512
"""What a proposal maps beside its libraries [est]: 240 MiB are too little for four results, 512 enough for a campaign's."""


def require(mib: int) -> None:
    """See before a fit that there is room for it: OpenBLAS looks for room for minutes, and then ends the process by itself.

    Raises:
        MemoryError: so much more memory cannot be had.
    """
    try:
        mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"{mib} MiB more cannot be had ({error.strerror})") from error


def ran_out(error: BaseException | None) -> bool:
    """Say whether an error, or one that it came from, means that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def sentence() -> str:
    """What ran out and what to do; every write of the ledger is whole or not there, so the same command goes on."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    allowed = "" if limit == resource.RLIM_INFINITY else f" (this process may use {limit >> 20} MiB, see ulimit -v)"
    return (
        f"memory ran out{allowed}; what was recorded is kept and nothing is half-written: close other programs, raise the "
        "limit or take a machine with more, then the same command continues"
    )
