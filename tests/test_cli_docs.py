"""The page of the command line says what its help says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
from cli_page import MARK, generated

PAGE = Path(__file__).parents[1] / "docs/cli.md"


def test_the_page_is_what_the_command_says() -> None:
    """`make golden` writes it anew."""
    by_hand, said = PAGE.read_text().split(MARK)
    if os.environ.get("LINK_GOLDEN") == "write":
        said = f"\n{generated()}"
        PAGE.write_text(f"{by_hand}{MARK}{said}")
    assert said == f"\n{generated()}"


def test_the_schema_of_documents_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((PAGE.parent / "cli.schema.json").read_text()))
