"""Queries on a source travel to other processes, which connect by themselves; a pickle holds no password."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import datajoint as dj
import pulling
import pytest
import scripts
from lab import Lab
from pipelines import granted, helper_rows, sessions

from link import ConfigError, Pipeline

cloudpickle: Any = pytest.importorskip("cloudpickle")


def read_elsewhere(lab: Lab, folder: Path, queries: list[Any], code: str = "") -> list[str]:
    """Let another process read the same by pickled queries; what it says beside."""
    pickled = pickle.dumps(queries)
    assert lab.link_password.encode() not in pickled and lab.local_password.encode() not in pickled
    (folder / "pickle").write_bytes(pickled)
    begin = """
        import json, pathlib, pickle
        queries = pickle.loads(pathlib.Path("pickle").read_bytes())
        print(json.dumps([sorted(map(repr, query.to_dicts())) for query in queries]))
        """
    ran = scripts.run(lab, begin + code, folder, linked=False, DJ_LOG_LEVEL="WARNING")
    assert ran.returncode == 0, ran.stderr
    found, *said = ran.stdout.splitlines()
    assert json.loads(found) == [sorted(map(repr, query.to_dicts())) for query in queries]
    return said


def test_queries_of_a_link(lab: Lab, tmp_path: Path) -> None:
    table = sessions(lab, 10)
    Session = granted(lab, table)
    Session.source.pull("session < 3")
    source = Session.source
    code = """
        print(len(queries[0].unshared), len(queries[0].Trial))
        from link import ConfigError
        try:
            queries[1].pull()
        except ConfigError as error:
            print(error)
        """
    said = read_elsewhere(
        lab,
        tmp_path,
        [
            source,
            source & "session < 4" & {"subject": 2},
            source & (source & "session > 7").proj(),
            source.proj() * source.Trial,
            source.proj().aggr(source.Trial.proj(), n="count(*)"),
            source.proj() + (source & "session < 2").proj(),
            source.unshared & dj.Top(2, order_by="session"),
        ],
        code,
    )
    assert said[0] == "7 20"
    # Where the local server was given as a connection, it is said what to do.
    assert "connection=, which does not travel" in said[1]


def test_what_comes_back_is_on_the_same_connection(lab: Lab) -> None:
    """In the process that it is from: it may be joined with what has stayed."""
    Session = granted(lab, sessions(lab, 5))
    again = pickle.loads(pickle.dumps(Session.source & "session < 2"))
    assert again.connection is Session.source.connection
    assert len(again.proj() * Session.source.Trial) == 4


def test_queries_of_a_pipeline(lab: Lab, tmp_path: Path) -> None:
    class Session(dj.Manual):
        definition = "session: int32\n---\nnote: varchar(12)"

        class Trial(dj.Part):
            definition = "-> master\ntrial: int32"

    content: dict[str, list[tuple[Any, ...]]] = {
        "Session": [(n, f"note {n}") for n in range(5)],
        "Session.Trial": [(n, n) for n in range(5)],
    }
    schema = pulling.declare(lab, {"ephys": [Session]}, content)["ephys"]
    pulling.grant(lab, [schema])
    options: dict[str, Any] = {"connection": lab.local, "use_tls": False, "backend": lab.source_server.backend}
    pipeline = Pipeline(scripts.names(lab)[0], {schema: f"{schema}_here"}, lab.helper_schema, **options)
    source = pipeline.source[schema]
    restricted = source.Session & "session < 3"
    code = """
        print(len(queries[0].Trial & queries[0].proj()), queries[0].Trial().full_table_name)
        """
    said = read_elsewhere(lab, tmp_path, [restricted, source.Session.Trial & restricted.proj()], code)
    assert said == [f"3 {source.Session.Trial.full_table_name}"]
    travelled, table = pickle.loads(pickle.dumps((pipeline, source.Session)))
    assert len(travelled.source[schema].Session()) == len(table()) == len(table.Trial()) == 5
    assert len(cloudpickle.loads(cloudpickle.dumps(source.Session))()) == 5
    with pytest.raises(ConfigError, match="does not travel"):
        travelled.pull(travelled.source[schema].Session)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_dask_and_pools(lab: Lab, tmp_path: Path) -> None:
    """As a script has them, whose functions and classes are in no module; what arrives can be pulled, too."""
    pytest.importorskip("dask")
    lab.grant(sessions(lab, 20))
    ran = scripts.run(
        lab,
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        import dask

        @linked
        class Session: pass

        def count(query):
            return len(query)

        def pull(query):
            return query.pull().pulled

        if __name__ == "__main__":
            parts = [Session.source & f"session % 4 = {n}" for n in range(4)]
            print(sum(dask.compute(*map(dask.delayed(count), parts), scheduler="processes", num_workers=2)))
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
                print(sum(pool.map(pull, parts)))
        """,
        tmp_path,
        DJ_LOG_LEVEL="WARNING",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["20", "20"]
    assert len(helper_rows(lab)) == 20
