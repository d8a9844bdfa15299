"""The `seatkeeper` command line: talks to an installation over its API alone, and imports nothing of it."""
