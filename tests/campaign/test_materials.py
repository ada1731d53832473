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
