"""What somebody at the source lab does with nothing but DataJoint, 2.3 or 0.14: a line of JSON asks, a line answers.

This runs in a process of its own, in an environment that has neither the package nor the tests: see `people.py`.
"""

from __future__ import annotations

import builtins
import json
import logging
import sys
from typing import Any

import datajoint as dj

OLD = dj.__version__.startswith("0.")
INTEGER = "int" if OLD else "int32"


class Subject(dj.Manual):
    definition = "subject: varchar(12)\n---\nname: varchar(20)"


class Session(dj.Manual):
    definition = f"-> Subject\nsession: {INTEGER}\n---\nnote: varchar(20)"

    class Trial(dj.Part):
        definition = f"-> master\ntrial: {INTEGER}\n---\nscore: {INTEGER}"


class Report(dj.Computed):
    definition = f"-> Session\n---\ntrials: {INTEGER}"

    def make(self, key: Any, **_: Any) -> None:
        new: Any = self
        new.insert1({**key, "trials": 2})


class Heard(logging.Handler):
    """What DataJoint has told the user."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def opener(server: dict[str, Any], prompt: bool) -> Any:
    """What opens a schema, through a new connection of an account."""
    address, account = (server["host"], server["user"], server["password"]), {"port": server["port"], "use_tls": False}
    if not OLD:
        return dj.Instance(*address, **account, backend=server["backend"], safemode=prompt).Schema
    dj.config["safemode"] = prompt
    connection = dj.Connection(*address, **account)
    return lambda *args, **options: dj.Schema(*args, connection=connection, **options)


def arrive(server: dict[str, Any], schema: str, helper: str = "", declare: bool = False, prompt: bool = False) -> Any:
    """What a person finds in a session: her classes, and those of the helper schema if she has activated it."""
    activate = opener(server, prompt)
    names: dict[str, Any] = {"dj": dj, "schema": activate(schema, create_schema=False, create_tables=declare)}
    for table in (Subject, Session, Report):
        names[table.__name__] = names["schema"](copied(table), context=names)
    if helper:
        activated = activate(helper, create_schema=False, create_tables=False)
        if OLD:
            activated.spawn_missing_classes(names)
        else:
            activated.make_classes(into=names)
    return names


def copied(table: Any) -> Any:
    """A class of its own for each connection, which DataJoint keeps in it."""
    body = {name: value for name, value in vars(table).items() if not name.startswith("_")}
    parts: dict[str, Any] = {name: value for name, value in body.items() if isinstance(value, type)}
    body |= {name: type(name, (dj.Part,), {"definition": part.definition}) for name, part in parts.items()}
    return type(table.__name__, table.__bases__, body)


def main() -> None:
    """Answer until nobody asks any more."""
    answers, sys.stdout = sys.stdout, sys.stderr
    heard = Heard()
    asked: list[str] = []
    logging.getLogger("datajoint").handlers[:] = [heard]
    logging.getLogger("datajoint").setLevel(logging.INFO)

    def decline(question: object = "", /) -> str:
        asked.append(str(question))
        return "no"

    builtins.input = decline
    names: dict[str, Any] = {}
    for line in sys.stdin:
        request, answer = json.loads(line), {}
        heard.lines.clear()
        asked.clear()
        try:
            if "arrive" in request:
                names = arrive(**request["arrive"])
            else:
                answer["result"] = eval(request["code"], names)
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        # What is no JSON is shown as its text.
        answers.write(json.dumps({**answer, "heard": heard.lines, "asked": asked}, default=str) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
