"""Steps, Prefect skins and the command line: the room that hands one middle room what it needs of another."""
