"""What a lab with DataJoint 0.14 has in its tables: declared, filled and fetched by that DataJoint.

This runs in the environment of DataJoint 0.14 (see `provision.py`). A line of JSON says where; the answer, in JSON, is
every row of every table, with each value as `canonical` writes it.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import uuid
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

# Before DataJoint is imported.
os.environ |= {"DJ_SUPPORT_ADAPTED_TYPES": "TRUE", "DJ_SUPPORT_FILEPATH_MANAGEMENT": "TRUE"}

import datajoint as dj
import numpy as np
from canonical import canonical

UUIDS = [uuid.UUID(int=n * 0x0102030405060708090A0B0C0D0E0F) for n in range(1, 6)]
#: Where files are made, and the folder of each store whose paths 0.14 keeps (its stage).
HERE = Path()


def made(name: str, content: bytes, *folders: str) -> str:
    """The path of a new file."""
    path = HERE.joinpath(*folders, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


# adapters


class Inner:
    """What an adapter makes of a value of its inner type."""

    def __init__(self, value: Any) -> None:
        self.value = value


def adapter(inner: str) -> Any:
    """An adapter over this type, whose objects wrap its values."""

    class Wrap(dj.AttributeAdapter):  # type: ignore[misc]
        attribute_type = inner

        def put(self, obj: Inner) -> Any:
            return obj.value

        def get(self, value: Any) -> Inner:
            return Inner(value)

    return Wrap()


ADAPTERS = {
    "graph": adapter("longblob"),
    "drawn": adapter("blob@theirs"),
    "paper": adapter("attach@att"),
    "placed": adapter("filepath@fp"),
    "word": adapter("varchar(20)"),
    "tag": adapter("uuid"),
    "leaf": adapter("attach"),
}


# tables


class Species(dj.Lookup):
    definition = """
    species: varchar(16)  # binomial
    ---
    descr="": varchar(64)
    shape: longblob
    """
    contents = (("mouse", "small", [1, 2]), ("Ratte", "größer", {"legs": 4}), ("none", "", ()))


class Person(dj.Manual):
    definition = "person: varchar(8)"

    def fill(self: Any) -> None:
        self.insert({"person": name} for name in ("ann", "bob", "cid"))


class Subject(dj.Manual):
    definition = """
    # subject: 'quoted', with a colon
    subject_id: int unsigned  # subject key
    ---
    -> Species
    nick=null: varchar(20)
    unique index (subject_id, nick)
    index (nick)
    """

    def fill(self: Any) -> None:
        self.insert([(1, "mouse", None), (4294967295, "Ratte", "nick"), (3, "none", "")])


class Session(dj.Manual):
    definition = """
    -> Subject
    session: smallint
    ---
    -> [nullable] Person
    -> [nullable, unique] Person.proj(second="person")
    -> Species.proj(other_species="species")
    ts: datetime
    notes=null: attach@theirs
    """

    class Trial(dj.Part):
        definition = """
        -> master
        trial: int
        ---
        -> Person.proj(observer="person")
        outcome: enum("hit", "miss")
        lb: longblob
        wave: blob@theirs
        movie: filepath@theirs
        """

    class Event(dj.Part):
        definition = """
        # a part of a part
        -> Session.Trial
        event: int
        ---
        -> Species
        t: float
        """

    def fill(self) -> None:
        new: Any = self
        for session in range(-3, 4):
            row = {"subject_id": 1 if session < 1 else 3, "session": session, "other_species": "mouse"}
            row |= {"person": "ann", "second": "bob"} if session == 1 else {}
            row |= {"notes": made(f"notes {session}.txt", b"%d" % session)} if session % 2 else {}
            new.insert1({**row, "ts": datetime.datetime(2024, 2, 29, 23, 59, 59)})
        for n, key in enumerate(new.fetch("KEY", order_by="KEY")):
            movie = staged("theirs", f"{n}.avi", b"m" * n, "movies")
            trials = [{**key, "trial": t, "observer": "cid", "outcome": "hit" if t else "miss"} for t in range(2)]
            new.Trial.insert({**row, "lb": np.arange(n), "wave": {"same": n % 2}, "movie": movie} for row in trials)
            new.Event.insert({**key, "trial": 0, "event": e, "species": "Ratte", "t": e / 4} for e in range(n % 3))


class Arrival(dj.Imported):
    definition = """
    -> Session
    ---
    x: float
    raw: longblob
    """

    @property
    def key_source(self) -> Any:
        return Session & "session > 1"

    def make(self: Any, key: Any, **_: Any) -> None:
        self.insert1({**key, "x": 0.25, "raw": {"key": key}})


class Result(dj.Computed):
    definition = """
    -> Arrival
    method: varchar(8)
    ---
    y: double
    res: longblob
    bx: blob@theirs
    """

    class Item(dj.Part):
        definition = """
        -> master
        item: tinyint
        ---
        z: float
        wave: blob@theirs
        sheet=null: attach@att
        """

    def make(self, key: Any, **_: Any) -> None:
        new: Any = self
        for method in ("a", "b"):
            one = {**key, "method": method}
            new.insert1({**one, "y": 1 / 3, "res": np.linspace(0, 1, 7), "bx": {"of": method}})
            new.Item.insert(
                {**one, "item": n, "z": n / 2, "wave": np.arange(n), "sheet": new.sheet(n)} for n in range(3)
            )

    def sheet(self, number: int) -> str | None:
        return made(f"sheet {number}.csv", f"a;{number}".encode()) if number else None


class Number(dj.Manual):
    definition = """
    # all numeric kinds, it's a test: with colon
    id: int
    ---
    i8: tinyint  # signed tiny
    u8: tinyint unsigned
    i16: smallint
    u16: smallint unsigned
    i24: mediumint
    u24: mediumint unsigned
    i32: int(11)
    i32i: integer
    u32: int unsigned
    i64: bigint
    u64: bigint unsigned
    f32: float
    f32u: float unsigned
    f32p: float(7,3)
    f64: double
    r64: real
    f64p: double(10,4)
    dec1: decimal(10,3)
    dec2: decimal(5)
    dec3: numeric(8,2)
    decu: decimal(10,3) unsigned
    b1: bool
    b2: boolean
    ni=null: int
    nf=null: float
    nb=null: bool
    """

    def fill(self: Any) -> None:
        low = [-128, 0, -32768, 0, -8388608, 0, -(2**31), -(2**31), 0, -(2**63), 0]
        high = [127, 255, 32767, 65535, 8388607, 16777215, 2**31 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**63 - 1]
        some: list[Any] = [-1.5, 0.25, -1234.5, 0.1, 1e300, -99999.1234]
        some += [Decimal(text) for text in ("-1.234", "12345", "0.10", "9999999.999")]
        self.insert1((1, *low, *some, 0, 1, None, None, None))
        self.insert1((2, *high, *[abs(value) for value in some], 5, -3, 7, 0.5, 1))


class Moment(dj.Manual):
    definition = """
    id: int
    ---
    d: date
    t: time
    t3: time(3)
    dt: datetime
    dt6: datetime(6)
    ts=CURRENT_TIMESTAMP: timestamp  # auto ts
    ts6: timestamp(6)
    tsn=null: timestamp
    dtc=CURRENT_TIMESTAMP: datetime
    y: year
    dn=null: date
    """

    def fill(self: Any) -> None:
        when = "2024-02-29 23:59:59"
        row = {"d": "1999-12-31", "t": "23:59:59", "t3": "00:00:00.123", "dt": when, "dt6": when + ".123456"}
        self.insert1({"id": 1, **row, "ts": when, "ts6": when + ".654321", "dtc": when, "y": 2155})
        self.insert1({"id": 2, **row, "ts": when, "ts6": when, "tsn": when, "dtc": when, "y": 1901, "dn": "1000-01-01"})
        self.insert1({"id": 3, **row, "ts6": when, "y": 2000})


class Text(dj.Manual):
    definition = """
    name: varchar(32)  # key name
    code: char(4)
    ---
    c: char(8)  # it's a "quoted" comment: with colon # and hash
    v=null: varchar(255)
    e: enum("a", "B", "it's")
    e2="lo": enum("lo", "hi")
    v2="dflt": varchar(20)
    v3="": varchar(20)  # empty default
    n1=5: int
    n2=1.5: float
    n3=1: bool
    d1="2020-01-02": date
    """

    def fill(self: Any) -> None:
        self.insert1({"name": "plain", "code": "ab", "c": "x", "e": "a"})
        self.insert1(
            {"name": "größe", "code": "", "c": "é", "v": "a'b\"c\\d\n%s", "e": "B", "e2": "hi", "v2": "", "n3": 0}
        )
        self.insert1({"name": "third", "code": "zz", "c": "", "v": "", "e": "it's", "d1": "2021-03-04"})


class Counted(dj.Manual):
    definition = "aid: int auto_increment\n---\nv: int"

    def fill(self: Any) -> None:
        self.insert([{"v": 10}, {"v": 20}])
        self.insert1({"aid": 9, "v": 30})


class Serial(dj.Manual):
    definition = "sid: serial\n---\nv: int"

    def fill(self: Any) -> None:
        self.insert([{"v": 10}, {"v": 20}])


class Stamped(dj.Manual):
    definition = "id: int\n---\nv: int"  # and a hidden timestamp

    def fill(self: Any) -> None:
        self.insert([(1, 2), (3, 4)])


class Identified(dj.Manual):
    definition = """
    u: uuid  # uuid key
    ---
    u2=null: uuid
    tb: tinyblob
    sb: blob
    mb: mediumblob
    lb: longblob  # the long one
    nb=null: longblob
    """

    class Tag(dj.Part):
        definition = "-> master\ntag: uuid\n---\nnote: varchar(20)"

    def fill(self) -> None:
        new: Any = self
        new.insert1((UUIDS[0], None, 1, b"bytes", "text", np.arange(4.0), None))
        new.insert1((UUIDS[1], UUIDS[4], [1], {"a": 1}, (None,), np.zeros((300, 300)), [np.arange(3), None]))
        new.Tag.insert((UUIDS[0], tag, f"tag {n}") for n, tag in enumerate(UUIDS[2:4]))


class Relative(dj.Manual):
    definition = "-> Identified\nk: int\n---\n-> [nullable] Identified.proj(other='u')"

    def fill(self: Any) -> None:
        self.insert([(UUIDS[0], 1, UUIDS[1]), (UUIDS[1], 1, None)])


class Document(dj.Manual):
    definition = "id: int\n---\nj: json  # some json\njn=null: json"

    def fill(self: Any) -> None:
        documents = [{"a": [1, 2.5, None, True], "ü": {"deep": "x"}}, [], {}, [1, "two"]]
        for n, document in enumerate(documents):
            nullable = documents[0] if n == 1 else None
            if "MariaDB" in self.connection.query("SELECT VERSION()").fetchone()[0]:  # where it takes only text
                document, nullable = json.dumps(document), nullable and json.dumps(nullable)
            self.insert1({"id": n, "j": document, "jn": nullable})


def objects() -> dict[str, Any]:
    """What Python and NumPy have, as far as 0.14 packs it."""
    found: dict[str, Any] = {
        f"array {name}": np.array([[0, 1, 2], [3, 4, 5]]).astype(name)
        for name in (
            "bool",
            "int8",
            "uint8",
            "int16",
            "uint16",
            "int32",
            "uint32",
            "int64",
            "uint64",
            "float32",
            "float64",
            "complex64",
            "complex128",
        )
    }
    found |= {
        f"array datetime64[{unit}]": np.array(["1969-12-31", "2024-02-29"], dtype=f"datetime64[{unit}]")
        for unit in ("Y", "M", "D", "s", "us", "ns")
    }
    found |= {
        f"scalar {name}": np.array(3).astype(name)[()]
        for name in ("bool", "int8", "uint64", "float32", "float64", "complex128")
    }
    found["scalar datetime64"] = np.datetime64("2024-02-29T12:00:00.123456")
    found["special floats"] = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    found["0-d"] = np.array(7.5)
    found["empty"] = np.zeros(0)
    found["empty matrix"] = np.zeros((0, 3), dtype="int16")
    found["4-d"] = np.arange(24).reshape(1, 2, 3, 4)
    found["fortran order"] = np.asfortranarray(np.arange(6).reshape(2, 3))
    found["strided"] = np.arange(20)[::3]
    found["characters"] = np.array([b"a", b"z"], dtype="c")
    found["text array"] = np.array([["größe", ""], ["b", "x" * 50]])
    found["objects"] = np.array([1, "a", None, np.arange(2), {"k": b"v"}], dtype=object)
    found["object matrix"] = np.array([[1, None], ["x", 2.5]], dtype=object)
    found["record array"] = np.rec.array([(1, 2.5), (2, -0.5)], dtype=[("n", "int32"), ("x", "float64")])
    found["structured"] = np.array([(1, 2.5)], dtype=[("n", "uint8"), ("x", "float32")])
    found |= {
        "None": None,
        "True": True,
        "False": False,
        "zero": 0,
        "negative": -1,
        "big": 2**100,
        "negative big": -(2**64),
    }
    found |= {"float": 0.1, "nan": float("nan"), "inf": float("-inf"), "minus zero": -0.0, "complex": 1.5 - 2j}
    found |= {"text": "größe \N{GRINNING FACE}\0", "empty text": "", "bytes": b"\0\xff", "empty bytes": b""}
    found |= {"Decimal": Decimal("-1.20E+3"), "UUID": UUIDS[0], "date": datetime.date(1, 1, 1)}
    found |= {"datetime": datetime.datetime(2024, 2, 29, 23, 59, 59, 999999), "time": datetime.time(12, 34, 56, 7)}
    found |= {
        "list": [1, None, "a", [2.5, [True]]],
        "empty list": [],
        "tuple": (1, (2,), ()),
        "set": {1, "a", None, 2.5},
    }
    found |= {"empty set": set(), "frozenset": frozenset({1, 2}), "bytearray": bytearray(b"ab")}
    found |= {"dict": {"a": 1, 2: [3], None: {"deep": (np.arange(3), UUIDS[1])}, (1, 2): "t"}, "empty dict": {}}
    found["range as tuple"] = range(3)
    found["compressed"] = np.zeros(100_000)
    found["compressed text"] = "long " * 10_000
    found["random, not compressed"] = np.frombuffer(np.random.RandomState(7).bytes(4096), dtype="uint8")
    found["every byte"] = bytes(range(256))
    return found


class Packed(dj.Manual):
    definition = "id: int\n---\nwhat: varchar(40)\nobject=null: longblob"

    def fill(self: Any) -> None:
        self.insert((n, what, value) for n, (what, value) in enumerate(objects().items()))


# MATLAB's own bytes, as mYm packs them: there is no MATLAB here


def numbers(*sizes: int, dtype: str = "<u8") -> bytes:
    return np.array(sizes, dtype=dtype).tobytes()


def matrix(kind: int, data: bytes, *shape: int, is_complex: int = 0) -> bytes:
    return b"A" + numbers(len(shape), *shape) + numbers(kind, is_complex, dtype="<u4") + data


def double(value: float) -> bytes:
    return matrix(6, np.array(value, dtype="<f8").tobytes(), 1, 1)


def doubles(*values: float) -> bytes:
    return matrix(6, np.array(values, dtype="<f8").tobytes(), 1, len(values))


def characters(text: str) -> bytes:
    return matrix(4, np.frombuffer(text.encode("utf-16-le"), dtype="<u2").tobytes(), 1, len(text))


def cell(elements: list[bytes], *shape: int) -> bytes:
    return b"C" + numbers(len(shape), *shape) + b"".join(numbers(len(item)) + item for item in elements)


def struct(fields: list[str], rows: list[list[bytes]], *shape: int) -> bytes:
    head = b"S" + numbers(len(shape), *shape) + numbers(len(fields), dtype="<u4")
    names = b"".join(name.encode() + b"\0" for name in fields)
    return head + names + b"".join(numbers(len(item)) + item for row in rows for item in row)


def compressed(blob: bytes) -> bytes:
    return b"ZL123\0" + numbers(len(blob)) + zlib.compress(blob)


def matlab() -> dict[str, bytes]:
    """What MATLAB has, in the bytes that it sends."""
    person = [characters("ann"), double(7), matrix(3, b"\1\0\1", 3, 1)]
    found = {
        "scalar": double(-0.5),
        "row": doubles(1, 2.5, float("nan")),
        "column": matrix(6, np.arange(3.0).tobytes(), 3, 1),
        "matrix": matrix(12, np.arange(6, dtype="<i4").tobytes(), 2, 3),
        "empty": matrix(6, b"", 0, 0),
        "single": matrix(7, np.array([1.5], dtype="<f4").tobytes(), 1, 1),
        "logical": matrix(3, b"\1\0", 1, 2),
        "complex": matrix(6, np.array([1, 2, -3, -4], dtype="<f8").tobytes(), 1, 2, is_complex=1),
        "integers": matrix(15, np.array([2**64 - 1], dtype="<u8").tobytes(), 1, 1),
        "3-d": matrix(9, bytes(range(12)), 2, 3, 2),
        "characters": characters("mouse 12"),
        "one character": characters("x"),
        "rows of characters": matrix(4, np.frombuffer("acbd".encode("utf-16-le"), dtype="<u2").tobytes(), 2, 2),
        "struct": struct(["name", "age", "flags"], [person], 1, 1),
        "struct array": struct(
            ["name", "age", "flags"], [person, [characters("bob"), double(8), matrix(3, b"", 0, 0)]], 2, 1
        ),
        "struct in struct": struct(["inner", "n"], [[struct(["x"], [[doubles(1, 2)]], 1, 1), double(1)]], 1, 1),
        "cell": cell([characters("a"), doubles(1, 2, 3), double(4)], 1, 3),
        "ragged cell": cell([doubles(1, 2), doubles(3, 4, 5), doubles(6)], 3, 1),
        "cell matrix": cell([double(1), characters("b"), doubles(1, 2), characters("dd")], 2, 2),
        "cell in struct": struct(["c"], [[cell([characters("p"), doubles(1, 2)], 1, 2)]], 1, 1),
        "alike cell": cell([double(1), double(2)], 1, 2),
    }
    whole = {what: b"mYm\0" + blob for what, blob in found.items()}
    whole["compressed"] = compressed(b"mYm\0" + matrix(6, np.zeros(5000).tobytes(), 1, 5000))
    whole["compressed struct"] = compressed(whole["struct array"])
    return whole


class Matlab(dj.Manual):
    definition = "id: int\n---\nwhat: varchar(40)\nobject: longblob"

    def fill(self: Any) -> None:
        for n, (what, blob) in enumerate(matlab().items()):
            self.connection.query(f"INSERT INTO {self.full_table_name} VALUES (%s, %s, %s)", args=(n, what, blob))


# what is in files


class Attached(dj.Manual):
    definition = "id: int\n---\na: attach  # internal attach\nan=null: attach"

    def fill(self: Any) -> None:
        self.insert1((1, made("file one.txt", b"hello"), None))
        self.insert1((2, made("größe.bin", bytes(range(256)) * 10), made("no content", b"")))


class Stored(dj.Manual):
    definition = """
    id: int
    ---
    bx: blob@theirs  # external blob
    bxn=null: blob@theirs
    bh: blob@my-store
    ax: attach@att  # external attach
    axn=null: attach@theirs
    fx: filepath@fp
    fxn=null: filepath@fp
    """

    class Slice(dj.Part):
        definition = "-> master\nn: int\n---\nimage: blob@my-store\nsheet: attach@att\nmovie: filepath@fp"

    def fill(self) -> None:
        new: Any = self
        new.insert1(
            (1, np.arange(5), None, {"same": 1}, made("notes 1.txt", b"one"), None, staged("fp", "a.dat", b"a"), None)
        )
        two = made("Übersicht.txt", b"two" * 1000)
        new.insert1(
            (
                2,
                np.zeros(5000),
                [None],
                np.arange(5),
                two,
                two,
                staged("fp", "b.dat", b"", "sub", "dir"),
                staged("fp", "a.dat", b"a"),
            )
        )
        # The same content is kept once; the same name with another content is another file.
        new.insert1(
            (
                3,
                np.arange(5),
                np.arange(5),
                {"same": 1},
                made("notes 1.txt", b"other"),
                None,
                staged("fp", "a.dat", b"a"),
                None,
            )
        )
        new.Slice.insert(
            (s, n, np.full(3, n), made(f"s{n}.csv", b"%d" % s), staged("fp", f"{s}.avi", b"m"))
            for s in (1, 2)
            for n in range(2)
        )


class Clouded(dj.Manual):
    definition = "id: int\n---\nbx: blob@cloud\nax=null: attach@cloud\nfx=null: filepath@cloud"

    def fill(self: Any) -> None:
        self.insert1(
            (
                1,
                np.arange(100),
                made("cloud 1.txt", b"in a bucket"),
                staged("cloud", "raw.dat", b"r" * 3000, "deep", "er"),
            )
        )
        self.insert1((2, {"k": "v"}, None, None))


class Adapted(dj.Manual):
    definition = """
    id: int
    ---
    w: <graph>  # adapted
    wn=null: <graph>
    wx: <drawn>  # adapted external
    v: <word>
    u: <tag>
    """

    def fill(self: Any) -> None:
        for n in (1, 2):
            values = {"w": [(n, 2), (2, 3)], "wn": {"w": n}, "wx": np.arange(n), "v": f"word {n}", "u": UUIDS[n]}
            self.insert1({"id": n, **{name: Inner(value) for name, value in values.items() if n == 2 or name != "wn"}})


class Wrapped(dj.Manual):
    """What adapters have made of attachments and paths: nothing at the source tells these from adapted blobs."""

    definition = """
    id: int
    ---
    leaf=null: <leaf>
    paper=null: <paper>
    placed=null: <placed>
    """

    def fill(self: Any) -> None:
        self.insert1({"id": 1, "leaf": Inner(made("leaf.txt", b"green"))})
        self.insert1({"id": 2, "paper": Inner(made("paper.txt", b"white"))})
        self.insert1({"id": 3, "placed": Inner(staged("fp", "placed.dat", b"there"))})


TABLES: tuple[Any, ...] = (Species, Person, Subject, Session, Arrival, Result, Number, Moment, Text, Counted, Serial)
TABLES += (Stamped, Identified, Relative, Document, Packed, Matlab, Attached, Stored, Clouded, Adapted, Wrapped)


def staged(store: str, name: str, content: bytes, *folders: str) -> str:
    """The path of a new file that 0.14 can put into the store under its own name."""
    stage = Path(dj.config["stores"][store]["stage"])
    return made(name, content, str(stage), *folders)


# what is fetched


def fetched(table: Any) -> dict[str, Any]:
    """Every row of a table, in the order of its key."""
    rows = []
    for key in table.fetch("KEY", order_by="KEY"):
        folder = HERE / f"downloads-{uuid.uuid4()}"
        folder.mkdir()
        rows.append({name: told(table & key, name, folder) for name in table.heading.names})
    return {"key": table.primary_key, "rows": rows}


def told(row: Any, name: str, folder: Path) -> Any:
    """A value as `canonical` writes it; of what an adapter made its inner value, of a file name and content."""
    attribute = row.heading.attributes[name]
    try:
        value = row.fetch1(name, download_path=str(folder))
    except ValueError as error:  # NumPy's, on cells of MATLAB that are not alike
        return ["unreadable", str(error)]
    if isinstance(value, Inner):
        value = value.value
    if value is not None and attribute.is_filepath:
        stage = dj.config["stores"][attribute.store]["stage"]
        return ["object", Path(value).relative_to(stage).as_posix(), Path(value).read_bytes().hex()]
    if value is not None and attribute.is_attachment:
        return ["file", Path(value).name, Path(value).read_bytes().hex()]
    if attribute.numeric:  # which it fetches by way of arrays, and NULL as NaN
        value = value.item() if isinstance(value, np.generic) else value
        value = None if value != value else value
    return canonical(value)


def main() -> None:
    """Declare, fill, fetch, answer."""
    global HERE
    answers, sys.stdout = sys.stdout, sys.stderr
    order = json.load(sys.stdin)
    HERE = Path(order["folder"])
    dj.config["stores"] = order["stores"]
    dj.config["safemode"] = False
    server = order["server"]
    connection = dj.Connection(server["host"], server["user"], server["password"], port=server["port"], use_tls=False)
    connection.query("SET time_zone = '+00:00'")
    names: dict[str, Any] = {table.__name__: table for table in TABLES} | ADAPTERS
    schema = dj.Schema(order["schema"], connection=connection, context=names)
    answer = {}
    for table in TABLES:
        dj.config["add_hidden_timestamp"] = table is Stamped
        schema(table)
        if issubclass(table, (dj.Imported, dj.Computed)):
            table.populate()
        elif table is not Species:
            table().fill()
    for table in TABLES:
        for one in (table(), *(part() for part in vars(table).values() if isinstance(part, dj.user_tables.TableMeta))):
            answer[one.table_name] = fetched(one)
    json.dump({"version": dj.__version__, "tables": answer}, answers)


if __name__ == "__main__":
    main()
