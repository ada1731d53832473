"""Where the compiled march is kept, and whether it is there: asked without importing numba, which takes half a second.

The directory is named after a digest of the sources, so that what lies in it is never stale; numba itself looks only at
the file of the outermost function.
"""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Final

_CONSTANTS: Final = ("cell_jit.py", "cell_ocv.py", "cell_scaled.py", "cell_steps.py")  # what else is compiled in


def cache_directory() -> Path:
    """Where the compiled code of exactly these sources lies, or will lie."""
    digest = hashlib.sha256(version("numba").encode())
    here = Path(__file__).parent
    for source in (*sorted(here.glob("cell_kernel*.py")), *(here / name for name in _CONSTANTS)):
        digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "mixwright" / f"cell-{digest.hexdigest()[:16]}"


def is_compiled() -> bool:
    """Whether the march was compiled here before, so that using it costs no compiler wait."""
    return any(cache_directory().glob("**/*march_many*.nbi"))
