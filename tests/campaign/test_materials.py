"""Material tables: ours load whole, a lab's own rows stand beside them, a bad row is refused with its place."""

from pathlib import Path

import pytest

from campaign import materials
from campaign.errors import Refusal

OURS = Path(materials.__file__).parent / "electrolytes.csv"


def own_row(folder: Path, **changes: str) -> Path:
    header, first = OURS.read_text(encoding="utf-8").splitlines()[:2]
    cells = dict(zip(header.split(","), first.split(","), strict=True)) | {"name": "OurSSE"} | changes
    path = folder / "own.csv"
    path.write_text(header + "\n" + ",".join(cells.values()) + "\n", encoding="utf-8")
    return path


def test_own_electrolyte_stands_beside_ours(tmp_path: Path) -> None:
    known = materials.load({"electrolytes": own_row(tmp_path, conductivity_mS_cm="3.5")})
    assert known.electrolyte("OurSSE").conductivity_mS_cm == 3.5
    assert known.electrolyte("LPSCl").conductivity_mS_cm == 0.44


def test_halide_content_agrees_with_halide_per_phosphorus() -> None:
    for sse in materials.load().electrolytes.values():
        if sse.halide_per_P == sse.halide_per_P:
            assert sum(sse.halide_fractions.values()) == pytest.approx(sse.halide_per_P)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conductivity_mS_cm": "much"}, "row 2, column conductivity_mS_cm: 'much' is not a number"),
        ({"conductivity_mS_cm": ""}, "row 2, column conductivity_mS_cm: empty"),
        ({"conductivity_mS_cm": "inf"}, "not a finite number"),
        ({"name": "LPSCl"}, "a name of ours already"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        materials.load({"electrolytes": own_row(tmp_path, **changes)})


@pytest.mark.parametrize(
    ("formula", "sulfide"),
    [
        ("Li4SnS4", True),
        ("75Li2S-25P2S5", True),
        ("Li₆PS₅Cl", True),
        ("Li3InCl6", False),
        ("Li2SiO3", False),
        ("LPSCl", None),
        ("argyrodite, undisclosed", None),
    ],
)
def test_whether_an_electrolyte_is_a_sulfide_is_read_from_its_elements(
    tmp_path: Path, formula: str, sulfide: bool | None
) -> None:
    """A file from before the table had that column is still read."""
    path = own_row(tmp_path, formula=f'"{formula}"')
    assert "sulfide" in path.read_text(encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n", encoding="utf-8")
    assert materials.load({"electrolytes": path}).electrolyte("OurSSE").is_sulfide is sulfide


def test_what_the_table_says_of_sulfides_counts_before_the_formula(tmp_path: Path) -> None:
    known = materials.load({"electrolytes": own_row(tmp_path, formula="ours", sulfide="No")})
    assert known.electrolyte("OurSSE").is_sulfide is False
    assert known.electrolyte("SS7").is_sulfide is True and known.electrolyte("LIC").is_sulfide is False
    (tmp_path / "other").mkdir()
    with pytest.raises(Refusal, match="row 2, column sulfide: 'perhaps' must be yes or no"):
        materials.load({"electrolytes": own_row(tmp_path / "other", sulfide="perhaps")})
