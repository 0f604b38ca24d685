"""Progress bars as a terminal shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import datajoint as dj
import pulling
import pytest
import scripts
import terminal
from buckets import Buckets
from filing import Stores, insert
from lab import Lab
from pipelines import declare, granted

# A terminal does not care for the kind of server.
pytestmark = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)

#: Where there are fewer than one a second, the bar says how long each takes.
RATE = r"(entities/s|s/ entities)\]"
ENTITIES = rf"(\w+\.)?\w+: +\d+%\|.*\| \d+/\d+ \[.*{RATE}"
BYTES = r"(\w+\.)?\w+ files: +\d+%\|.*\| [\d.k]+/[\d.k]+ \[.*B/s, files=\d+\]"
#: Before the first figures are known.
BEGUN = r".*: +0%.*\| 0(\.00)?/[\d.k]+ \[[\d:]+<\?.*|(\w+\.)?\w+ files: 0\.00B \[[\d:]+, \?B/s\]"


class Scan(dj.Manual):
    definition = """
    scan: int32
    ---
    frames: <object@theirs>
    """


class Trace(dj.Manual):
    definition = """
    trace: int32
    ---
    values: <object@theirs>
    """


def show(lab: Lab, code: str, folder: Path) -> terminal.Screen:
    """What a terminal shows of a script that is drawn at every step."""
    environ = scripts.environment(lab) | {"TQDM_MININTERVAL": "0", "TQDM_MINITERS": "1", "DJ_LOG_LEVEL": "WARNING"}
    return terminal.run(scripts.written(lab, code, folder), environ, folder)


def are_whole(lines: list[str], *others: str) -> bool:
    """Whether each line is a bar, or something that is known, and not two on top of each other."""
    return all(re.fullmatch(f"{ENTITIES}|{BYTES}|{BEGUN}|{'|'.join(others)}", line) for line in lines)


def test_two_bars_side_by_side_and_none_for_nothing(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    stores = Stores(lab, tmp_path, buckets, "file", "file")
    table = declare(lab, Scan)
    for n in range(12):
        insert(table, {"scan": n, "frames": bytes([n]) * 5000})
    granted(lab, table)
    screen = show(
        lab,
        f"""
        import datajoint as dj
        from link import link
        dj.config.stores = {stores.settings}
        linked = link(*{scripts.names(lab)}, use_tls=False, stores={{"theirs": "ours"}})
        @linked
        class Scan: pass
        Scan.source.pull(display_progress=True, transfers=2)
        print("again")
        Scan.source.pull(display_progress=True)
        print("verified")
        Scan.source.verify(files=True, display_progress=True)
        """,
        tmp_path,
    )
    for lines in screen.seen:
        assert are_whole(lines, "again", "verified"), lines
    both = [lines[-2:] for lines in screen.seen if len(lines) > 1]
    assert any(re.fullmatch(ENTITIES, upper) and re.fullmatch(BYTES, lower) for upper, lower in both)
    # What is left: the bar of entities, nothing of the pull with nothing to do, the bar of the files that were read.
    pulled, again, verified, read = screen.shown
    assert re.fullmatch(rf"Scan: 100%\|█+\| 12/12 \[.*{RATE}", pulled)
    assert (again, verified) == ("again", "verified")
    assert re.fullmatch(r"Scan files: 100%\|█+\| 60\.0k/60\.0k \[.*B/s, files=12\]", read)


def test_one_bar_of_a_pipeline_with_those_of_its_files_below(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    stores = Stores(lab, tmp_path, buckets, "file", "file")
    names = pulling.declare(lab, {"imaging": [Scan, Trace]}, {})
    schema: Any = dj.VirtualModule("imaging", names["imaging"], connection=lab.source.connection)
    for n in range(6):
        insert(schema.Scan, {"scan": n, "frames": bytes([n]) * 5000})
        insert(schema.Trace, {"trace": n, "values": bytes([n]) * 5000})
    pulling.grant(lab, list(names.values()))
    address = scripts.names(lab)[0]
    screen = show(
        lab,
        f"""
        import datajoint as dj
        from link import Pipeline
        dj.config.stores = {stores.settings}
        ours = {{{names["imaging"]!r}: {lab.local_schema!r}}}
        pipeline = Pipeline({address!r}, ours, {lab.helper_schema!r}, use_tls=False, stores={{"theirs": "ours"}})
        source = pipeline.source[{names["imaging"]!r}]
        pipeline.pull(source.Scan, source.Trace, display_progress=True)
        print("again")
        pipeline.pull(source.Scan, source.Trace, display_progress=True)
        """,
        tmp_path,
    )
    for lines in screen.seen:
        assert are_whole(lines, "again", r" *0%\|.*"), lines
    pulled, again = screen.shown
    assert re.fullmatch(rf"\w+\.(Scan|Trace): 100%\|█+\| 12/12 \[.*{RATE}", pulled)
    assert again == "again"


def test_what_is_logged_does_not_get_into_a_bar(lab: Lab, tmp_path: Path) -> None:
    screen = show(
        lab,
        """
        import logging
        from link.progress import bar_of_entities
        with bar_of_entities("Unit", 2) as bar:
            bar.update(1)
            logging.getLogger("link").warning("a word")
            bar.update(1)
        """,
        tmp_path,
    )
    said, drawn = screen.shown
    assert said.endswith("[WARNING]: a word") and drawn.startswith("Unit: 100%")
