"""`python -m config.cli` is `seatkeeper`."""

from config.cli.main import run

if __name__ == "__main__":
    run()
