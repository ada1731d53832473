"""Formats met after the readers were written (November 2026), by the heads of real files: Novonix, PEC, Neware in layers."""

import re

import pytest
from lab_files import capacities, record, table, understood
from test_vendor_files import TWO_CYCLES, clock

from campaign.errors import Refusal

ROWS = record(TWO_CYCLES, dt_s=60, logged="both").tolist()

NOVONIX = (
    "[Summary]\nNovonix UHPC data file\nNovonix\nChannel: 01\nCell: LS-11\nSerial Number: \nMass (g): 1.000\nCapacity (Ah): 5\n"
    'Started: 2025-07-19 15:26:20\n[End Summary]\n[Protocol]\n{"Version":"UHPC Control: 2.13.0","Steps":[{"StepType":3,'
    '"Conditions":[{"Left":"step time","Right":"10"},{"Left":"Step Capacity","Right":"7"}]}]}\n[End Protocol]\n[Data]\n'
)
NOVONIX_HEADER = (
    "Date and Time,Cycle Number,Step Type,Run Time (h),Step Time (h),Current (A),Potential (V),Capacity (Ah),"
    "Temperature (°C),Circuit Temperature (°C),Energy (Wh),dVdt (V/h),dIdt (A/h),Step Number,Step position,Power(W)"
)


def novonix():
    rows = []
    for t, step, s, i, v, up, down in ROWS:
        stamp = f"2025-07-{19 + int(t // 86400)} {clock(t % 86400)}"
        start = [stamp, 1, 7, f"{t / 3600:.7f}", f"{s / 3600:.7f}", f"{i / 1000:.8f}", f"{v:.8f}"]
        rows.append([*start, f"{(up - down) / 1000:.8f}", 24.6, 25.2, 0, 0, 0, int(step), 1, 0])
    return NOVONIX + table(NOVONIX_HEADER, rows)


PEC = (
    "Request Year:,2026\nTest:,25205\nTest Description:,\nNumber Of Cells:,1\nParameter names:,C-Rate (mAh),Mass (kg)\n"
    "Parameter values:,64000,1.161\nFinish Date:,01/01/0001 00:00:00\nOperator Instructions:,\n"
)
PEC_HEADER = (
    "Test,Cell,Rack,Shelf,Position,Cell ID,Step,Instruction Name,Cycle,Total Time (Hours in hh:mm:ss.xxx),"
    "Load On Time (Hours in hh:mm:ss.xxx),Step Time (Seconds),Cycle Charge Time (Hours in hh:mm:ss.xxx),Real Time,"
    "Position Start Time,Voltage (V),Current (A),Charge Capacity (mAh),Discharge Capacity (mAh),ReasonCode,Temp (°C),"
)


def pec():
    rows = []
    for t, step, s, i, v, up, down in ROWS:
        real = f"01/{8 + int(t // 86400):02d}/2026 {clock(t % 86400)}"
        start = [25205, 1, "ACT4", "014", 1, "34_33_6", int(step), "Idle", 0, f"{clock(t)}.000", "00:00:00.000"]
        rows.append([*start, f"{s:.3f}", "00:00:00.000", real, "01/08/2026 17:45:08", f"{v:.6f}", f"{i / 1000:.8f}"])
        rows[-1] += [f"{up:.6f}", f"{down:.6f}", 30, "", ""]
    return PEC + table(PEC_HEADER, rows)


def seconds():
    return table(
        "Seconds,Amps,Volts,Ah", [[f"{t:.1f}", f"{i / 1000:.7f}", f"{v:.4f}", 0] for t, _, _, i, v, _, _ in ROWS]
    )


@pytest.mark.parametrize(("made", "cell"), [(novonix, "LS-11"), (pec, "34_33_6"), (seconds, None)])
def test_what_these_files_say(tmp_path, made, cell):
    found = understood(tmp_path, made())
    assert capacities(found) == pytest.approx([1.0, 0.95], rel=0.003)
    assert found["cycles"]["charge_capacity_mAh"] == pytest.approx([0.9, 0.9], rel=0.003)
    assert (found["format"], found["cell_id"]) == ("novonix" if made is novonix else "csv", cell)
    levels = {finding["check"]: finding["level"] for finding in found["findings"]}
    assert "flag" not in levels.values() and levels["sign"] == "ok"
    assert made is seconds or (levels["time_unit"], levels["two_capacities"]) == ("ok", "ok")


LAYERS = (
    "Cycle Index,Chg. Cap.(Ah),DChg. Cap.(Ah),Chg.-DChg. Eff(%)\n"
    ",Step Index,Step Number,Step Type,Step Time,Capacity(Ah)\n"
    ",,DataPoint,Time,Total Time,Current(A),Voltage(V),Capacity(Ah)\n"
    "1,0.02256,0.33067,1465.46\n,1,1,Rest,00:00:20,0.0\n,,1,00:00:00,00:00:00,0.0,4.3185,0.0\n"
)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_neware_s_layers_are_refused_with_the_export_that_helps(tmp_path, mark):
    with pytest.raises(Refusal, match=re.escape("f: is Neware's layered export (cycle, step and record rows")):
        understood(tmp_path, LAYERS.replace(",", mark))
