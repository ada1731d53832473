"""Which code marches the full cell where, and that a machine without numba or a compiler answers all the same."""

import subprocess
import sys

import pytest
import torch

from models import cell, cell_box, cell_full

CPU = torch.device("cpu")
WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
from models import cell, cell_box, cell_full
design = cell_box.draw(3, seed=6)
half = cell.charge(design, start=cell.discharge(design))
print(*(float(q).hex() for q in half.capacity_mAh_cm2))
print(cell_full.chosen_backend(design.current_mA_cm2.device, designs=3))
print(cell_full.chosen_backend(design.current_mA_cm2.device, designs=500))
"""


def test_without_numba_the_same_capacities_come_out():
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=True)
    numbers, few, many = done.stdout.splitlines()
    design = cell_box.draw(3, seed=6)
    here = cell.charge(design, start=cell.discharge(design)).capacity_mAh_cm2
    there = torch.tensor([float.fromhex(q) for q in numbers.split()], dtype=torch.float64)
    assert torch.allclose(here, there, rtol=1e-8, atol=1e-10)
    assert (few, many) == ("numpy", "torch")


def test_few_designs_never_wait_for_a_compiler(tmp_path, monkeypatch):
    pytest.importorskip("numba", reason="numba is optional")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cell_full.chosen_backend(CPU, designs=13) == "numpy"
    assert cell_full.chosen_backend(CPU, designs=1000) == "numba"


def test_another_device_marches_in_torch():
    assert cell_full.chosen_backend(torch.device("meta"), designs=1000) == "torch"
