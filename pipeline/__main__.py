"""`python -m pipeline` is `gatecast`."""

from pipeline.cli import main

main(prog_name="gatecast")
