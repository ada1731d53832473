"""Every audit event that Python documents, and what the guard of the parsing process says of it."""

import os
from pathlib import Path

import pytest

from ingest.guard import attempt

REFUSED = """
    subprocess.Popen socket.__new__ socket.bind socket.connect socket.getaddrinfo socket.gethostbyname socket.sendto
    socket.sethostname ctypes.cdata ctypes.call_function ctypes.string_at ctypes.get_errno webbrowser.open
    ftplib.connect ftplib.sendcmd smtplib.connect smtplib.send urllib.Request http.client.connect http.client.send pty.spawn
    winreg.SetValue winreg.ConnectRegistry imaplib.open imaplib.send poplib.connect poplib.putline telnetlib.Telnet.open
    pickle.find_class os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn os.startfile os.kill os.killpg os.putenv
    os.chmod os.chown os.link os.symlink code.__new__ builtins.breakpoint sqlite3.connect sqlite3.load_extension
    syslog.openlog shutil.unpack_archive
""".split()
HARMLESS = """
    import os.listdir os.scandir os.walk marshal.loads gc.get_objects sys._getframe object.__getattr__ tempfile.mkdtemp glob.glob
    time.sleep cpython._PySys_ClearAuditHooks ctypes.dlsym mmap.__new__ resource.setrlimit signal.pthread_kill
""".split()
INSIDE = "/srv/mine/"
WRITING = ("os.remove os.rename os.mkdir os.rmdir os.truncate shutil.move shutil.copyfile shutil.rmtree").split()


@pytest.mark.parametrize("event", REFUSED)
def test_programs_network_and_code_are_refused(event):
    assert attempt(event, ("x", "y"), inside=INSIDE) == event


@pytest.mark.parametrize("event", HARMLESS)
def test_reading_and_computing_is_not(event):
    assert attempt(event, ("x", "y"), inside=INSIDE) is None


@pytest.mark.parametrize("event", WRITING)
def test_files_are_changed_in_the_own_folder_only(event):
    assert attempt(event, ("/srv/mine/a", "/srv/mine/b"), inside=INSIDE) is None
    assert attempt(event, ("/srv/mine/a", -1), inside=INSIDE) is None
    for paths in (("/srv/mine/a", "/srv/b"), ("/srv/b", "/srv/mine/a"), (b"/srv/b", -1), ("/srv/mine/../b",)):
        assert attempt(event, paths, inside=INSIDE) == event
    assert attempt(event, ("/srv/mine", -1), inside=INSIDE) == event


READ = (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC)
WRITE = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_CREAT | os.O_WRONLY)


def test_files_are_opened_for_writing_in_the_own_folder_only():
    for target in ("/srv/other/a", b"/srv/other/a", Path("/srv/other/a"), "/srv/mine/../a", None):
        for mode in ("r", "rb", None):
            assert all(attempt("open", (target, mode, flags), inside=INSIDE) is None for flags in READ)
            assert all(attempt("open", (target, mode, flags), inside=INSIDE) for flags in WRITE)
        for mode in ("w", "ab", "x", "r+b"):
            assert attempt("open", (target, mode, 0), inside=INSIDE) == f"to write {target!r}"
    for target in ("/srv/mine/a", b"/srv/mine/a", Path("/srv/mine/a"), os.devnull, 7):
        assert all(attempt("open", (target, "wb", flags), inside=INSIDE) is None for flags in WRITE)


def test_code_from_text_is_refused_and_code_of_modules_is_not():
    def code(name):
        return compile("1", name, "eval")

    for name in ("<string>", "<data>", b"<x>", None):
        assert attempt("compile", ("1", name), inside=INSIDE) == "to compile code"
    for name in ("/lib/a.py", b"/lib/a.py", "<frozen importlib>"):
        assert attempt("compile", ("1", name), inside=INSIDE) is None
    assert attempt("exec", (code("<string>"),), inside=INSIDE) == "to run code"
    assert attempt("exec", (object(),), inside=INSIDE) == "to run code"
    assert attempt("exec", (code("/lib/a.py"),), inside=INSIDE) is None
    assert attempt("exec", (code("<frozen zipimport>"),), inside=INSIDE) is None


def test_a_library_is_not_loaded_but_the_own_program_may_be_looked_into():
    assert attempt("ctypes.dlopen", (None,), inside=INSIDE) is None
    assert attempt("ctypes.dlopen", ("libm.so",), inside=INSIDE) == "ctypes.dlopen"
