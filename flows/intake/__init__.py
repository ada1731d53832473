"""Taking in what the lab sends: each file archived, understood, placed, and only then written to the ledger.

`kept` archives a file by its content; `whose` finds its cell; `versions` says how it stands to earlier files of that cell;
`cell_file` records it; `sheet` plans and carries out a lab sheet; `tables` takes powder results and earlier work.
`done` and `times` check what people say at any door; `standing` lets a trial follow its mixes and cells.
"""
