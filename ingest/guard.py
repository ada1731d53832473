"""What a parsing process may do: read, compute, and write inside its own folder. Everything else raises and ends it.

A `sys.addaudithook` cannot be removed again; it sees what Python code and the standard library attempt. It is a tripwire
beside the memory and time limits, for formats whose readers we did not write.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_REFUSED_PREFIXES = (
    "subprocess.",
    "socket.",
    "ctypes.",
    "webbrowser.",
    "ftplib.",
    "smtplib.",
    "urllib.",
    "http.",
    "pty.",
    "winreg.",
    "imaplib.",
    "poplib.",
    "telnetlib.",
)
_REFUSED = frozenset(
    {
        "pickle.find_class",
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.kill",
        "os.killpg",
        "os.putenv",
        "os.chmod",
        "os.chown",
        "os.link",
        "os.symlink",
        "code.__new__",
        "builtins.breakpoint",
        "sqlite3.connect",
        "sqlite3.load_extension",
        "syslog.openlog",
        "shutil.unpack_archive",
    }
)
_WRITES = frozenset(
    {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "shutil.move", "shutil.copyfile", "shutil.rmtree"}
)
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(folder: Path) -> None:
    """Refuse, from now on and in this process, code from data, programs, network, and writes outside `folder`."""
    inside = os.path.realpath(folder) + os.sep

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        attempted = attempt(event, arguments, inside=inside)
        if attempted is not None:
            raise PermissionError(f"a file being read attempted {attempted}")

    sys.addaudithook(hook)


def attempt(event: str, arguments: tuple[object, ...], *, inside: str) -> str | None:
    """Say what an audit event attempts that no file may; None where it is harmless.

    Args:
        event: its name, as in https://docs.python.org/3/library/audit_events.html
        arguments: its arguments.
        inside: the folder that may be written, its path ending in a separator.
    """
    if event in _REFUSED or event.startswith(_REFUSED_PREFIXES):
        looks_up = event == "ctypes.dlsym" or (event == "ctypes.dlopen" and arguments[0] is None)
        return None if looks_up else event
    if event == "compile" and _from_text(arguments[1]):
        return "to compile code"
    if event == "exec" and _from_text(getattr(arguments[0], "co_filename", "<data>")):
        return "to run code"
    if event == "open":
        target, mode, flags = arguments
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if (writes or (isinstance(flags, int) and flags & _WRITE_FLAGS)) and not _may_write(target, inside):
            return f"to write {target!r}"
    if event in _WRITES and not all(
        _may_write(path, inside) for path in arguments[:2] if isinstance(path, str | bytes)
    ):
        return event
    return None


def _may_write(target: object, inside: str) -> bool:
    if isinstance(target, int):
        return True
    if not isinstance(target, str | bytes | os.PathLike):
        return False
    path = os.path.realpath(os.fsdecode(target))
    return path.startswith(inside) or path == os.devnull


def _from_text(filename: object) -> bool:
    name = os.fsdecode(filename) if isinstance(filename, str | bytes) else "<data>"
    return name.startswith("<") and not name.startswith("<frozen ")
