"""The generated part of `docs/cli.md`: what each verb takes, from its help."""

from __future__ import annotations

import re
from typing import Any

import typer

from link.cli import NAME, app

#: What stands above it is written by hand.
MARK = "<!-- What follows is written by `make golden`. -->\n"


def generated() -> str:
    """What follows the mark."""
    group: Any = typer.main.get_command(app)
    root = group.make_context(NAME, [], resilient_parsing=True)
    sections = dict[str, list[str]]()
    for name, verb in group.commands.items():
        context = verb.make_context(name, [], parent=root, resilient_parsing=True)
        panel = getattr(verb, "rich_help_panel", None) or "Both"
        sections.setdefault(str(panel), []).append(f"### {name}\n\n```text\n{_help(verb, context)}\n```")
    parts = [f"## Options before the verb\n\n```text\n{_options(group, root)}\n```\n"]
    parts += [f"## {title}\n\n" + "\n\n".join(verbs) + "\n" for title, verbs in sections.items()]
    return "\n".join(parts)


def _help(verb: Any, context: Any) -> str:
    context.terminal_width = 110
    return re.sub(r"[ \t]+$", "", str(verb.get_help(context)), flags=re.M).strip()


def _options(group: Any, context: Any) -> str:
    formatter = context.make_formatter()
    formatter.width = 110
    records = [record for each in group.get_params(context) if (record := each.get_help_record(context))]
    formatter.write_dl(records)
    return re.sub(r"[ \t]+$", "", str(formatter.getvalue()), flags=re.M).strip()
