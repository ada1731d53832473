# SPDX-License-Identifier: GPL-3.0-or-later
"""Program: prints a BioLogic .mpr file as CSV. `python mpr_to_csv.py FILE.mpr`

It uses galvani (datalab-org-galvani), which is under the GPL, and so this one file is too. Nothing of Mixwright imports it:
it is started as a program of its own, a file in and text out, and only where somebody installed galvani.
"""

import sys

from galvani import BioLogic


def main() -> None:
    """Write the column names and all rows of the file named on the command line to standard output."""
    table = BioLogic.MPRfile(sys.argv[1]).data
    names = [name for name in table.dtype.names if table.dtype[name].kind in "fiub"]
    out = sys.stdout
    out.write("\t".join(names) + "\n")
    for row in zip(*(table[name].tolist() for name in names)):  # noqa: B905 - columns of one array
        out.write("\t".join(map(repr, row)) + "\n")


if __name__ == "__main__":
    main()
