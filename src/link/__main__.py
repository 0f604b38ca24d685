"""``python -m link`` is ``datajoint-link``."""

from .cli import main

main()
