"""`python -m vtscot` is `vtscot`."""

from vtscot.cli import main

main()
