"""A pipeline with what makes closures hard: four schemas, keys renamed, nullable, unique, doubled, into parts.

What each row stands on is known: the rows are few, and their numbers say whose they are.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import datajoint as dj

#: A key of the lookup table of parameters.
PARAMS = [uuid.UUID(int=number) for number in range(3)]


class Institute(dj.Lookup):
    definition = "lab: varchar(8)\n---\ncity='': varchar(20)"


class User(dj.Manual):
    definition = "user: varchar(12)\n---\n-> Institute\nindex (lab, user)"


class Probe(dj.Manual):
    definition = "probe: int32\n---\nmade=null: date"

    class Electrode(dj.Part):
        definition = "-> master\nelectrode: int32\n---\ndepth: float64"


class Params(dj.Lookup):
    definition = "params: uuid\n---\nnote: varchar(20)"


class Subject(dj.Manual):
    definition = """
    subject: int32
    ---
    -> Institute
    -> [nullable] User.proj(owner='user')
    sex='U': enum('M', 'F', 'U')
    name: varchar(20)
    unique index (name)
    """


class Pair(dj.Manual):
    definition = """
    pair: int32
    ---
    -> Subject.proj(father='subject')
    -> [nullable] Subject.proj(mother='subject')
    """


class Litter(dj.Manual):
    definition = "-> Pair\nlitter: int32\n---\nborn=null: date"

    class Pup(dj.Part):
        definition = "-> master\npup: int32\n---\n-> [nullable, unique] Subject"


class Session(dj.Manual):
    definition = "-> Subject\nsession: int32\n---\n-> User"

    class Event(dj.Part):
        definition = "-> master\nevent: int32\n---\n-> [nullable] Subject.proj(other='subject')"


class Insertion(dj.Imported):
    definition = "-> Session\n-> Probe\n---\ndepth: float64"


class Clustering(dj.Computed):
    definition = "-> Insertion\n-> Params\n---\nquality: float64"

    class Unit(dj.Part):
        definition = "-> master\nunit: int32\n---\n-> [nullable] Probe.Electrode"

    class Spike(dj.Part):
        definition = "-> Clustering.Unit\nspike: int32\n---\n-> [nullable] Subject.proj(seen='subject')"


class Psth(dj.Computed):
    definition = "-> Clustering.Unit\n-> Params.proj(bins='params')\n---\nrate: float64"


class Twin(dj.Manual):
    definition = """
    twin: int32
    ---
    -> Clustering.Unit
    -> [nullable] Clustering.Unit.proj(subj2='subject', sess2='session', probe2='probe', params2='params', unit2='unit')
    """


class Site(dj.Manual):
    definition = "-> Probe.Electrode.proj(at='electrode')\n---\n-> [nullable] Params"


TABLES = {
    "lab": (Institute, User, Probe, Params),
    "subject": (Subject, Pair, Litter, Session),
    "ephys": (Insertion, Clustering),
    "report": (Psth, Twin, Site),
}

#: Rows by table. Subject 1 has all; 2 and 3 are its parents by pairs; 4 and 5 come in by events and spikes.
ROWS: dict[str, Iterable[tuple[Any, ...]]] = {
    "Institute": [("paris", ""), ("rome", ""), ("oslo", "")],
    "User": [("ann", "paris"), ("bob", "rome"), ("cyd", "rome"), ("dan", "oslo")],
    "Probe": [(1, None), (2, "2020-02-29"), (3, None)],
    "Probe.Electrode": [(probe, electrode, 0.5) for probe in (1, 2, 3) for electrode in range(3)],
    "Params": [(key, f"set {n}") for n, key in enumerate(PARAMS)],
    "Subject": [
        (1, "paris", "cyd", "F", "one"),
        (2, "paris", None, "M", "two"),
        (3, "rome", None, "F", "three"),
        (4, "rome", "bob", "U", "four"),
        (5, "paris", None, "U", "five"),
        (6, "oslo", "dan", "U", "six"),
    ],
    "Pair": [(1, 2, 3), (2, 2, None), (3, 6, 6)],
    "Litter": [(1, 1, None), (2, 1, None)],
    "Litter.Pup": [(1, 1, 1, 1), (1, 1, 2, None), (2, 1, 1, 5)],
    "Session": [(1, 1, "ann"), (1, 2, "bob"), (5, 1, "ann"), (6, 1, "dan")],
    "Session.Event": [(1, 1, 1, 4), (1, 1, 2, None), (6, 1, 1, 6)],
    "Insertion": [(1, 1, 1, 0.1), (1, 1, 2, 0.2), (1, 2, 1, 0.3), (5, 1, 3, 0.4)],
    "Clustering": [(1, 1, 1, PARAMS[0], 0.9), (1, 2, 1, PARAMS[0], 0.8), (5, 1, 3, PARAMS[1], 0.7)],
    "Clustering.Unit": [
        (1, 1, 1, PARAMS[0], 1, 0),
        (1, 1, 1, PARAMS[0], 2, None),
        (1, 2, 1, PARAMS[0], 1, None),
        (5, 1, 3, PARAMS[1], 1, 2),
    ],
    "Clustering.Spike": [(1, 1, 1, PARAMS[0], 1, 1, 5), (1, 1, 1, PARAMS[0], 1, 2, None)],
    "Psth": [(1, 1, 1, PARAMS[0], 2, PARAMS[2], 7.0), (5, 1, 3, PARAMS[1], 1, PARAMS[1], 8.0)],
    "Twin": [
        (1, 1, 2, 1, PARAMS[0], 1, None, None, None, None, None),
        (2, 1, 2, 1, PARAMS[0], 1, 5, 1, 3, PARAMS[1], 1),
        (3, 5, 1, 3, PARAMS[1], 1, 1, None, 1, PARAMS[0], 1),  # half of a key refers to nothing
    ],
    "Site": [(1, 2, None), (2, 0, PARAMS[1])],
}
