"""The hostile corpus through every door: one sentence each, within seconds and a bounded memory, and nothing half-taken."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from make_corpus import corpus, odd_names, special

import ingest
from campaign.errors import Refusal
from ingest import guard, sandbox

TRIALS = pd.DataFrame({"speed_rpm": [1500.0], "time_h": [3.0]}, index=["T0001"])
CORPUS = {name: (content, reason) for name, content, reason in corpus()}
MEMORY_MIB, CPU_S = 1024, 10


@pytest.fixture(scope="module")
def costs():
    """What the parsing processes cost: every answer of the sandbox is seen."""
    seen = []
    asked = sandbox._ask

    def ask(*arguments):
        answer = asked(*arguments)
        seen.append(answer)
        return answer

    sandbox._ask = ask
    yield seen
    sandbox._ask = asked


def sentence(door, path):
    """Return what a door says of a file; anything but a result or a Refusal fails the test by itself."""
    try:
        door(path)
    except Refusal as refusal:
        said = str(refusal)
        assert "\n" not in said and 20 < len(said) < 900
        return said
    return None


def test_the_corpus_is_large_enough():
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("name", CORPUS)
def test_refused_with_the_reason(tmp_path, costs, name):
    content, reason = CORPUS[name]
    path = tmp_path / name
    path.write_bytes(content)
    costs.clear()
    said = sentence(ingest.inspect, path)
    assert max((answer["cpu_s"] for answer in costs), default=0) <= CPU_S
    assert max((answer["memory_MiB"] for answer in costs), default=0) <= MEMORY_MIB
    if reason:
        assert said is not None and re.search(reason, said), said
    if said is not None:
        assert name in said


@pytest.mark.parametrize("name", [name for name in CORPUS if name != "million_rows.xlsx"])
def test_other_doors_refuse_too(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CORPUS[name][0])
    assert sentence(lambda file: ingest.read_sheet(file, known_trials=TRIALS), path) is not None
    assert sentence(ingest.read_history, path) is not None
    assert sentence(ingest.read_powder, path) is not None


def test_what_is_no_file_is_refused_at_once(tmp_path):
    for path, reason in special(tmp_path):
        begun = time.monotonic()
        said = sentence(ingest.inspect, path)
        assert said is not None and re.search(reason, said), said
        with pytest.raises(Refusal):
            ingest.store(path, tmp_path / "archive")
        assert time.monotonic() - begun < 5


def test_names_never_become_paths(tmp_path):
    (tmp_path / "in").mkdir()
    before = set(os.listdir(tmp_path))
    root = tmp_path / "archive"
    for path in odd_names(tmp_path / "in"):
        found = ingest.inspect(path)
        assert found.name.isprintable() and len(found.name) <= 130
        kept = ingest.store(path, root)
        assert re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{64}", str(kept.path.relative_to(root)))
    assert set(os.listdir(tmp_path)) == before | {"archive"}
    assert len([p for p in root.rglob("*") if p.is_file()]) == 1


def test_an_archive_that_leads_elsewhere_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("cycle,discharge_capacity_mAh\n1,1\n")
    kept = ingest.store(path, tmp_path / "archive")
    shelf = kept.path.parent
    kept.path.unlink()
    shelf.rmdir()
    (tmp_path / "elsewhere").mkdir()
    shelf.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="link"):
        ingest.store(path, tmp_path / "archive")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not list((tmp_path / "archive").glob(".incoming*"))


def limited(**changes):
    return ingest.Limits(**changes)


@pytest.mark.parametrize(
    ("limits", "rows", "reason"),
    [
        (dict(memory_MiB=1), 1_500_000, "memory|gave up"),
        # So long that no machine reads it in the second that it has, and memory is not what ends it.
        (dict(wall_s=1, cpu_s=1, memory_MiB=16_384), 9_000_000, "second|computing|longer"),
        (dict(file_MiB=1), 150_000, "limit is 1 MiB"),
        (dict(text_columns=2), 150_000, "columns"),
    ],
)
def test_limits_hold_and_are_settings(tmp_path, limits, rows, reason):
    path = tmp_path / "long.csv"
    path.write_text("time_s,current_mA,voltage_V\n" + "".join(f'{k},1,"2.0{k % 10}"\n' for k in range(rows)))
    with pytest.raises(Refusal, match=reason):
        ingest.inspect(path, limits=limited(**limits))
    path.write_text("cycle,discharge_capacity_mAh\n1,1\n")
    assert ingest.inspect(path).rows == 1


def test_limits_come_from_settings_by_name():
    assert ingest.Limits.from_settings({"MIXWRIGHT_INGEST_CPU_S": "7", "HOME": "/"}).cpu_s == 7
    for wrong in ({"MIXWRIGHT_INGEST_CPU": "7"}, {"MIXWRIGHT_INGEST_CPU_S": "-1"}, {"MIXWRIGHT_INGEST_CPU_S": "٧"}):
        with pytest.raises(Refusal):
            ingest.Limits.from_settings(wrong)


ATTEMPTS = {
    "eval": "eval('1+1')",
    "exec": "exec('x = 1')",
    "compile": "compile('1', '<data>', 'eval')",
    "pickle": "__import__('pickle').loads(b'cposix\\nsystem\\n(S\"true\"\\ntR.')",
    "hard link": "os.link(os.path.join(other, 'keep'), os.path.join(mine, 'x'))",
    "system": "os.system('true')",
    "popen": "os.popen('true')",
    "subprocess": "__import__('subprocess').run(['true'])",
    "fork": "os.fork()",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "exec program": "os.execv('/bin/true', ['true'])",
    "kill": "os.kill(os.getppid(), 0)",
    "connect": "__import__('socket').create_connection(('127.0.0.1', 9))",
    "socket": "__import__('socket').socket()",
    "listen": "__import__('socket').socket().bind(('127.0.0.1', 0))",
    "resolve": "__import__('socket').getaddrinfo('example.org', 80)",
    "url": "__import__('urllib.request').request.urlopen('http://127.0.0.1:9')",
    "write": "open(os.path.join(other, 'x'), 'w')",
    "append": "open(os.path.join(other, 'x'), 'ab')",
    "os.open": "os.open(os.path.join(other, 'x'), os.O_CREAT | os.O_WRONLY)",
    "remove": "os.remove(os.path.join(other, 'keep'))",
    "rename": "os.rename(os.path.join(other, 'keep'), os.path.join(mine, 'x'))",
    "mkdir": "os.mkdir(os.path.join(other, 'd'))",
    "link": "os.symlink('/etc/passwd', os.path.join(mine, 'x'))",
    "database": "__import__('sqlite3').connect(os.path.join(mine, 'a.db'))",
    "library": "__import__('ctypes').CDLL('libm.so.6')",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_planted_code_cannot_leave_the_child(tmp_path, attempt):
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    (other / "keep").write_text("kept")
    program = (
        "import os, sys, pickle, socket, subprocess, urllib.request, sqlite3, ctypes, importlib.util\n"
        "from pathlib import Path\n"
        f"spec = importlib.util.spec_from_file_location('guard', {str(Path(guard.__file__))!r})\n"
        "guard = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(guard)\n"
        f"mine, other = {str(mine)!r}, {str(other)!r}\n"
        "guard.install(Path(mine))\nopen(os.path.join(mine, 'ok'), 'w').close()\n"
        f"{ATTEMPTS[attempt]}\nprint('came through')\n"
    )
    root = Path(ingest.__file__).parent.parent
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=60)
    assert ended.returncode != 0 and "PermissionError: a file being read attempted" in ended.stderr
    assert "came through" not in ended.stdout
    assert (mine / "ok").exists() and os.listdir(other) == ["keep"]


def test_without_the_guard_planted_code_comes_through(tmp_path):
    """Positive control: the same attempts succeed where nothing refuses them."""
    ended = subprocess.run([sys.executable, "-c", "eval('1+1'); print('came through')"], capture_output=True, text=True)
    assert "came through" in ended.stdout


def test_a_reader_that_is_killed_is_one_sentence_and_the_next_file_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("cycle,discharge_capacity_mAh\n1,1\n")
    ingest.inspect(path)
    server = sandbox._servers[os.getpid()]
    server.kill()
    server.wait()
    assert ingest.inspect(path).rows == 1


def test_a_reader_whose_caller_is_killed_ends_without_a_word(tmp_path):
    path = tmp_path / "long.csv"
    rows = "".join(f"{n},-1,{2.5 - n * 1e-6}\n" for n in range(200_000))
    path.write_text(f"time (s),current (mA),voltage (V)\n{rows}")
    program = f"import ingest, pathlib; print(1, flush=True); ingest.inspect(pathlib.Path({str(path)!r}))"
    caller = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(ingest.__file__).parent.parent,
    )  # fmt: skip
    assert caller.stdout.readline() == "1\n"
    folder = Path(f"/proc/{caller.pid}/task/{caller.pid}/children")
    while not folder.read_text():  # until the reading process is there, and with it the request in its pipe
        time.sleep(0.01)
    time.sleep(0.1)
    caller.kill()
    _, said = caller.communicate(timeout=60)  # ends when the reading process, which inherited the pipe, has ended
    assert said == ""


def test_the_parent_stays_small(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "far.xlsx"
    path.write_bytes(CORPUS["far_cell.xlsx"][0])
    for _ in range(5):
        assert sentence(ingest.inspect, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.parametrize(
    ("attempt", "ends_with"),
    [
        ("os.system('true')", "attempted os.system"),
        ("open('/tmp/mixwright-planted', 'w')", "attempted to write"),
        ("eval('1+1')", "attempted to compile"),
        ("resource.getrlimit(resource.RLIMIT_CPU)[0]", 7),
        ("resource.getrlimit(resource.RLIMIT_CORE)[0]", 0),
        ("resource.getrlimit(resource.RLIMIT_AS)[0] < 2**40", True),
        ("signal.getitimer(signal.ITIMER_REAL)[0] > 0", True),
        ("os.getcwd() == str(folder)", True),
    ],
)
def test_the_parsing_process_closes_its_doors(tmp_path, attempt, ends_with):
    program = (
        "import json, os, resource, signal, sys\nfrom dataclasses import asdict\nfrom pathlib import Path\n"
        "from ingest import child, tasks\nfrom ingest.limits import Limits\n"
        f"tasks.TASKS = {{'table': lambda folder, limits, arguments: {attempt}}}\n"
        "child._work({'task': 'table', 'folder': sys.argv[1], 'arguments': {}, 'limits': asdict(Limits(cpu_s=7))})\n"
    )
    root = Path(ingest.__file__).parent.parent
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, timeout=60)
    if isinstance(ends_with, str):
        assert ends_with in (tmp_path / "stderr").read_text()
        assert not (tmp_path / "result.json").exists()
    else:
        assert json.loads((tmp_path / "result.json").read_text())["result"] == ends_with


def test_a_file_that_changes_while_it_is_read_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("cycle,discharge_capacity_mAh\n1,1\n")

    def grown(descriptor, real=os.fstat):
        with path.open("a") as stream:
            stream.write("2,1\n")
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", grown)
    with pytest.raises(Refusal, match="still being written"):
        ingest.inspect(path)
