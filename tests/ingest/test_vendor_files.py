"""Vendors' tables with the quirks that were met in real files: each is told by content, and its capacities are right."""

import math

import pytest
import xlsxwriter
from lab_files import record, series_csv, table, write

import ingest
from campaign.errors import Refusal

TWO_CYCLES = [(0, 0.1), (-1, 1), (0, 0.1), (0.9, 1), (0, 0.1), (-0.95, 1), (0, 0.1), (0.9, 1), (0, 0.1)]
DISCHARGE, CHARGE = [1.0, 0.95], [0.9, 0.9]


def check(path, kind, discharge=DISCHARGE, charge=CHARGE, **options):
    found = ingest.inspect(path, **options)
    assert found.format == kind
    assert found.cycles["discharge_capacity_mAh"].tolist() == pytest.approx(discharge, rel=0.003, nan_ok=True)
    assert found.cycles["charge_capacity_mAh"].tolist() == pytest.approx(charge, rel=0.003, nan_ok=True)
    return found


def arbin_rows(rows, cycle=1, start_mAh=0.0):
    return [
        [
            n + 1,
            f"{t:.4f}",
            f"{s:.4f}",
            int(step),
            cycle,
            f"{i / 1000:.8f}",
            f"{v:.5f}",
            f"{(up + start_mAh) / 1000:.9f}",
            f"{down / 1000:.9f}",
        ]
        for n, (t, step, s, i, v, up, down) in enumerate(rows.tolist())
    ]


ARBIN = (
    "Data_Point,Test_Time(s),Step_Time(s),Step_Index,Cycle_Index,Current(A),Voltage(V),"
    "Charge_Capacity(Ah),Discharge_Capacity(Ah)"
)


def test_arbin_whose_counter_never_resets_and_whose_cycle_stays_1(tmp_path):
    found = check(
        write(tmp_path / "x.dat", table(ARBIN, arbin_rows(record(TWO_CYCLES, dt_s=30, logged="both")))), "arbin"
    )
    assert found.cycles["vendor_discharge_capacity_mAh"].tolist() == pytest.approx(DISCHARGE, rel=0.003)
    assert found.cycles["vendor_cycle"].tolist() == [1, 1]
    assert not [finding for finding in found.findings if finding.check == "two_capacities" and finding.level != "ok"]


def test_arbin_without_units_in_its_header(tmp_path):
    header = ARBIN.replace("(s)", "").replace("(A)", "").replace("(V)", "").replace("(Ah)", "")
    check(write(tmp_path / "x.csv", table(header, arbin_rows(record(TWO_CYCLES, dt_s=30, logged="both")))), "arbin")


def test_arbin_that_starts_in_the_middle_of_a_test(tmp_path):
    steps = [(0.9, 0.4), (-1, 1), (0.9, 1), (-0.95, 1)]
    rows = arbin_rows(record(steps, dt_s=30, logged="both", rest_after=True), start_mAh=500.0)
    found = ingest.inspect(write(tmp_path / "x.csv", table(ARBIN, rows)))
    assert found.first_cycle_partial and found.start == "charge"
    assert math.isnan(found.cycles["charge_capacity_mAh"][0])
    assert found.cycles["discharge_capacity_mAh"][0] == pytest.approx(1.0, rel=0.003)


def test_arbin_workbook_with_an_information_sheet(tmp_path):
    book = xlsxwriter.Workbook(str(tmp_path / "x.xlsx"))
    info = book.add_worksheet("Global_Info")
    info.write_row(3, 0, ["Channel", "Start DateTime", "Schedule File Name", "Creator", "Comments"])
    info.write_row(4, 0, [11, "2026-03-04", "slow.sdu", "ben", "cell: LS-07"])
    page = book.add_worksheet("Channel_11_1")
    page.write_row(0, 0, ARBIN.split(","))
    for number, row in enumerate(arbin_rows(record(TWO_CYCLES, dt_s=60, logged="both")), start=1):
        page.write_row(number, 0, [float(cell) for cell in row])
    book.close()
    found = check(tmp_path / "x.xlsx", "arbin")
    assert found.cell_id == "LS-07"


NEWARE = (
    "DataPoint,Cycle Index,Step Index,Step Type,Time,Total Time,Current(A),Voltage(V),Capacity(Ah),"
    "Chg. Cap.(Ah),DChg. Cap.(Ah)"
)


def clock(seconds):
    whole = round(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def test_neware_csv_whose_counter_resets_with_every_step(tmp_path):
    steps = [(0, 0.1), (-1, 1), (-0.5, 0.2), (-0.1, 0.5), (1, 1.1), (0, 0.1)]
    rows = []
    for n, (t, step, s, i, v, _, _) in enumerate(record(steps, dt_s=30, logged="both").tolist()):
        moved = abs(i) * s / 3600
        name = "Rest" if i == 0 else ("CC Chg" if i > 0 else "CC DChg")
        charge, discharge = (moved, 0.0) if i > 0 else (0.0, moved)
        rows.append(
            [
                n + 1,
                7,
                int(step),
                name,
                clock(s),
                clock(t),
                f"{i / 1000:.6f}",
                f"{v:.4f}",
                f"{moved / 1000:.9f}",
                f"{charge / 1000:.9f}",
                f"{discharge / 1000:.9f}",
            ]
        )
    found = check(write(tmp_path / "n.csv", table(NEWARE, rows)), "neware", [1.15], [1.1])
    assert found.cycles["vendor_discharge_capacity_mAh"].tolist() == pytest.approx([1.15], rel=0.005)
    assert found.cycles["cycle"].tolist() == [1] and found.cycles["vendor_cycle"].tolist() == [7]


def test_neware_csv_with_step_time_alone(tmp_path):
    header = (
        "Record Index,Status,JumpTo,Cycle,Step,Cur(mA),Voltage(V),CapaCity(mAh),Energy(mWh),Relative Time(h:min:s.ms)"
    )
    rows = []
    for n, (_, step, s, i, v, _, _) in enumerate(record(TWO_CYCLES, dt_s=30, logged="both").tolist()):
        state = "Rest" if i == 0 else ("CC_Chg" if i > 0 else "CC_DChg")
        rows.append(
            [n + 1, state, 1, 1, int(step), f"{i:.5f}", f"{v:.4f}", f"{abs(i) * s / 3600:.7f}", 0, clock(s) + ".000"]
        )
    found = ingest.inspect(write(tmp_path / "n.csv", table(header, rows)))
    assert found.cycles["discharge_capacity_mAh"].tolist() == pytest.approx(DISCHARGE, rel=0.003)


def test_neware_layered_export_is_refused_with_the_export_that_helps(tmp_path):
    text = (
        "Cycle ID,Cap_Chg(mAh),Cap_DChg(mAh)\n,Step ID,Step Name,Capacity(mAh)\n"
        ",,Record ID,Time(h:min:s.ms),Voltage(V)\n1,0.9,1\n"
    )
    with pytest.raises(Refusal, match="layered export"):
        ingest.inspect(write(tmp_path / "n.csv", text))


MACCOR = "Rec#\tCyc#\tStep\tTest (Min)\tStep (Min)\tAmp-hr\tWatt-hr\tAmps\tVolts\tState\tES\tDPt Time"


def maccor(rows, *, signed):
    lines = [
        "Today's Date 01/15/2026\tDate of Test:\t01/15/2026\t Filename:\tC:\\x.001\tComment/Barcode: LS-03, made by A",
        MACCOR,
    ]
    for n, (t, step, s, i, v, up, down) in enumerate(rows.tolist()):
        state = "R" if i == 0 else ("C" if i > 0 else "D")
        amps = i / 1000 if signed else abs(i) / 1000
        stamp = f"01/15/2026 {clock(t)}" if t < 86400 else f"01/16/2026 {clock(t - 86400)}"
        lines.append(
            "\t".join(
                map(
                    str,
                    [
                        n + 1,
                        0,
                        int(step),
                        f"{t / 60:.5f}",
                        f"{s / 60:.5f}",
                        f"{(up + down) / 1000:.10f}",
                        0,
                        f"{amps:.10f}",
                        f"{v:.6f}",
                        state,
                        0,
                        stamp,
                    ],
                )
            )
        )
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize("signed", [True, False])
def test_maccor_current_with_and_without_sign(tmp_path, signed):
    found = check(
        write(tmp_path / "m.001", maccor(record(TWO_CYCLES, dt_s=60, logged="both"), signed=signed)), "maccor"
    )
    assert found.cell_id == "LS-03"
    assert found.cycles["vendor_cycle"].tolist() == [0, 0]
    assert any(finding.check == "time_unit" and finding.level == "ok" for finding in found.findings)


def test_maccor_without_sign_and_with_an_unknown_state_is_refused(tmp_path):
    text = maccor(record(TWO_CYCLES, dt_s=60, logged="both"), signed=False).replace("\tD\t", "\tX\t")
    with pytest.raises(Refusal, match="state 'x'"):
        ingest.inspect(write(tmp_path / "m.001", text))


@pytest.mark.parametrize("form", ["{h}:{m:02d}:{s:02d}", "{d}d {r:02d}:{m:02d}:{s:02d}"])
def test_time_as_a_clock_reading(tmp_path, form):
    rows = record(TWO_CYCLES, dt_s=60, logged="both")
    body = []
    for t, _, _, i, v, _, _ in rows.tolist():
        whole = round(t)
        h = whole // 3600
        body.append([form.format(h=h, d=h // 24, r=h % 24, m=whole // 60 % 60, s=whole % 60), f"{i:.6f}", f"{v:.4f}"])
    check(write(tmp_path / "c.csv", table("Time,Current(mA),Voltage(V)", body)), "csv")


@pytest.mark.parametrize(
    ("unit", "factor"), [("s", 1), ("min", 1 / 60), ("h", 1 / 3600), ("ms", 1000), ("d", 1 / 86400)]
)
@pytest.mark.parametrize(("amps", "scale"), [("A", 1e-3), ("mA", 1), ("µA", 1e3)])
def test_units_in_headers(tmp_path, unit, factor, amps, scale):
    rows = record(TWO_CYCLES, dt_s=60, logged="both")
    text = series_csv(rows, f"Test Time [{unit}],I/{amps},Voltage (mV)", (factor, scale, 1000))
    check(write(tmp_path / "c.csv", text), "csv")


def landt(rows):
    header = "Index,TestTime/h,StepTime/h,Voltage/V,Current/mA,Capacity/mAh,State"
    body = []
    for n, (t, _, s, i, v, _, _) in enumerate(rows.tolist()):
        state = "R" if i == 0 else ("C_CC" if i > 0 else "D_CC")
        body.append(
            [n + 1, f"{t / 3600:.7f}", f"{s / 3600:.7f}", f"{v:.4f}", f"{i:.4f}", f"{abs(i) * s / 3600:.6f}", state]
        )
    return table(header, body)


def test_landt_csv(tmp_path):
    check(write(tmp_path / "l.csv", landt(record(TWO_CYCLES, dt_s=60, logged="both"))), "landt")


def test_landt_current_with_one_digit_is_told_by_the_two_capacities(tmp_path):
    true = record([(-1.4, 1), (1.4, 1), (-1.4, 1), (1.4, 1)], dt_s=60, logged="both", rest_after=True)
    text = landt(true).replace(",1.4000,", ",1,").replace(",-1.4000,", ",-1,")
    found = ingest.inspect(write(tmp_path / "l.csv", text))
    gaps = [finding for finding in found.findings if finding.check == "two_capacities"]
    assert gaps and all(finding.level == "flag" for finding in gaps)
    assert found.flagged


def mpt(rows, *, comma=False, magic="EC-Lab ASCII FILE", current=True):
    names = [
        "mode",
        "ox/red",
        "error",
        "Ns",
        "time/s",
        "Ewe/V",
        "dq/mA.h",
        *(["I/mA"] if current else []),
        "(Q-Qo)/mA.h",
        "Q charge/discharge/mA.h",
        "half cycle",
    ]
    lines = [
        magic,
        "Nb header lines : 6",
        "",
        "Run on channel : B5",
        "Comments : cell id: LS-09",
        "\t".join(names) + "\t",
    ]
    before = 0.0
    for t, step, _, i, v, up, down in rows.tolist():
        net = up - down
        cells = [
            1,
            0,
            0,
            int(step),
            f"{t:.6E}",
            f"{v:.6E}",
            f"{net - before:.9E}",
            *([f"{i:.6E}"] if current else []),
            f"{net:.9E}",
            f"{net:.9E}",
            0,
        ]
        before = net
        line = "\t".join(map(str, cells))
        lines.append(line.replace(".", ",") if comma else line)
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("magic", ["EC-Lab ASCII FILE", "BT-Lab ASCII FILE"])
def test_biologic_text_with_point_or_comma(tmp_path, comma, magic):
    found = check(
        write(tmp_path / "b.mpt", mpt(record(TWO_CYCLES, dt_s=30, logged="both"), comma=comma, magic=magic)),
        "biologic-mpt",
    )
    assert found.cell_id == "LS-09"
    assert found.cycles["vendor_charge_capacity_mAh"].tolist() == pytest.approx(CHARGE, rel=0.003)


def test_biologic_without_a_current_column_takes_dq_dt(tmp_path):
    found = check(
        write(tmp_path / "b.mpt", mpt(record(TWO_CYCLES, dt_s=30, logged="both"), current=False)), "biologic-mpt"
    )
    assert any("dq/dt" in finding.sentence for finding in found.findings)


@pytest.mark.parametrize(
    "labels", ["Test Time / s,Voltage / V,Current / A", "test_time_second,voltage_volt,current_ampere"]
)
def test_battery_data_format(tmp_path, labels):
    rows = record(TWO_CYCLES, dt_s=60, logged="both")
    body = [[f"{t:.3f}", f"{v:.4f}", f"{i / 1000:.7f}"] for t, _, _, i, v, _, _ in rows.tolist()]
    check(write(tmp_path / "b.bdf.csv", table(labels, body)), "bdf")


def test_battery_data_format_parquet(tmp_path):
    import pandas as pd

    rows = record(TWO_CYCLES, dt_s=60, logged="both")
    frame = pd.DataFrame({"Test Time / s": rows[:, 0], "Voltage / V": rows[:, 4], "Current / A": rows[:, 3] / 1000})
    frame.to_parquet(tmp_path / "b.parquet")
    check(tmp_path / "b.parquet", "bdf")


def test_format_is_told_by_content_not_by_name(tmp_path):
    text = maccor(record(TWO_CYCLES, dt_s=60, logged="both"), signed=True)
    for name in ("a.csv", "a.xlsx", "a.nda", "a", "a.res"):
        assert ingest.inspect(write(tmp_path / name, text)).format == "maccor"


def test_semicolons_decimal_comma_utf16_and_byte_order_mark(tmp_path):
    rows = record(TWO_CYCLES, dt_s=60, logged="both")
    text = series_csv(rows).replace(",", ";").replace(".", ",")
    for name, raw in {
        "a": text.encode("utf-8-sig"),
        "b": text.encode("utf-16"),
        "c": text.replace("\n", "\r\n").encode("latin-1"),
    }.items():
        check(write(tmp_path / name, raw), "csv")


def test_start_belongs_to_the_trial_and_the_file_only_warns(tmp_path):
    path = write(tmp_path / "c.csv", series_csv(record(TWO_CYCLES, dt_s=60, logged="both")))
    found = ingest.read_cycler(path, start="charge")
    assert found.cycles["cycle"].tolist() == [0, 1, 2]
    assert found.cycles["discharge_capacity_mAh"].tolist()[1] == pytest.approx(0.95, rel=0.003)
    assert any(finding.check == "start" and finding.level == "warning" for finding in found.findings)


def test_capacity_table_in_three_units(tmp_path):
    cell = ingest.CellFacts(active_mass_mg=4.0, area_cm2=0.8)
    for header, factor in {
        "mAh": 1.0,
        "mAh/g": 250.0,
        "mAh g-1": 250.0,
        "Ah/kg": 250.0,
        "mAh/cm²": 1.25,
        "µAh": 1000.0,
    }.items():
        text = table(
            f"Cycle,Discharge capacity ({header}),Charge capacity ({header})",
            [[n, q * factor, 0.95 * q * factor] for n, q in ((1, 5.0), (2, 4.8))],
        )
        found = ingest.read_cycler(write(tmp_path / "t.csv", text), cell=cell)
        assert found.format == "capacity-table"
        assert found.cycles["discharge_capacity_mAh"].tolist() == pytest.approx([5.0, 4.8])
        assert found.cycles["discharge_areal_capacity_mAh_cm2"].tolist() == pytest.approx([6.25, 6.0])
        assert found.cycles["discharge_capacity_mAh_g"].tolist() == pytest.approx([1250, 1200])


def test_capacity_per_gram_of_composite_needs_the_share(tmp_path):
    path = write(tmp_path / "t.csv", table("cycle,discharge_capacity_mAh_g_composite", [[1, 300.0], [2, 290.0]]))
    with pytest.raises(Refusal, match="counts per gram"):
        ingest.read_cycler(path, cell=ingest.CellFacts(active_mass_mg=4.0))
    found = ingest.read_cycler(path, cell=ingest.CellFacts(active_mass_mg=4.0, active_wt_pct=25.0))
    assert found.cycles["discharge_capacity_mAh"].tolist() == pytest.approx([4.8, 4.64])


def test_mass_is_never_guessed(tmp_path):
    path = write(tmp_path / "t.csv", table("cycle,discharge capacity (mAh/g)", [[1, 1200.0]]))
    with pytest.raises(Refusal, match="active mass of the cell"):
        ingest.read_cycler(path)
    found = ingest.inspect(path)
    assert found.flagged and found.cycles["discharge_capacity_mAh_g"].tolist() == [1200.0]


@pytest.mark.parametrize(
    "names",
    ["Qdis (mAh),Qchg (mAh)", "Q_discharge/mAh,Q_charge/mAh", "DChg. Cap. (mAh),Chg. Cap. (mAh)", "qd_mAh,qc_mAh"],
)
def test_discharge_and_charge_are_never_confused(tmp_path, names):
    for header, order in ((names, (0, 1)), (",".join(reversed(names.split(","))), (1, 0))):
        rows = [[n, *[(6.28, 5.9)[k] - 0.1 * n for k in order]] for n in (1, 2)]
        found = ingest.inspect(write(tmp_path / "t.csv", table(f"Cycle #,{header}", rows)))
        assert found.cycles["discharge_capacity_mAh"].tolist() == pytest.approx([6.18, 6.08])
        assert found.cycles["charge_capacity_mAh"].tolist() == pytest.approx([5.8, 5.7])


def test_no_name_stands_for_two_columns():
    from ingest import capacity_table
    from ingest.headers import SERIES

    assert not set(capacity_table._DISCHARGE) & set(capacity_table._CHARGE)
    assert not set(SERIES["charge_counter_mAh"][1]) & set(SERIES["discharge_counter_mAh"][1])


def test_cell_id_in_a_column_or_above_the_header(tmp_path):
    text = table("cell_id,cycle,discharge_capacity_mAh", [["LS-07", 1, 6.28], ["LS-07", 2, 6.1]])
    assert ingest.inspect(write(tmp_path / "t.csv", text)).cell_id == "LS-07"
    text = "# cell: LS-08\n# by: A\n" + table("cycle,discharge_capacity_mAh", [[1, 6.28]])
    assert ingest.inspect(write(tmp_path / "t.csv", text)).cell_id == "LS-08"
    text = table("cell_id,cycle,discharge_capacity_mAh", [["LS-07", 1, 6.28], ["LS-08", 2, 6.1]])
    with pytest.raises(Refusal, match="names 2 cells"):
        ingest.inspect(write(tmp_path / "t.csv", text))


def test_a_last_number_that_was_cut_off_is_left_out(tmp_path):
    body = "cycle,discharge_capacity_mAh\n1,6.28\n2,6.18\n3,6.08\n4,5.98\n5,5.88\n"
    for text, cycles in ((body + "6,5.", 5), (body + "6,5.7", 5), (body + "6,5.78", 6), (body + "6,", 5), (body, 5)):
        assert len(ingest.inspect(write(tmp_path / "t.csv", text)).cycles) == cycles
