"""`python -m zoo_cli` is `zoo`."""

from zoo_cli.cli.app import main

main()
