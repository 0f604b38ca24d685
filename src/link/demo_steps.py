"""What the demo does, step by step: text that is printed and run as printed."""

from __future__ import annotations

from dataclasses import dataclass

LAB_A, MEMBER, LAB_B = "lab A", "lab A, member", "lab B"


@dataclass(frozen=True)
class Step:
    """One line of explanation and the code, run in the Python session of one lab."""

    lab: str
    what: str
    code: str
    fails: bool = False


STEPS = (
    Step(
        LAB_A,
        "The source pipeline: a second of a recording, its spikes and its stimulus in part tables.",
        '''
        lab_a = dj.Instance(HOST_A, "postgres", "", backend="postgresql")
        schema = lab_a.Schema("grasshopper")
        @schema
        class Recording(dj.Manual):
            definition = """
            # one second of an intracellular recording of an auditory receptor neuron
            experiment   : int16
            second       : int16    # since the start of the experiment
            ---
            cutoff_hz    : float64  # the sound's amplitude is noise up to this frequency
            carrier_khz  : float64  # of the sound
            intensity_db : float64  # sound pressure level
            """
            class Spike(dj.Part):
                definition = """
                -> master
                spike : int16
                ---
                time_us : int32     # since the start of the experiment
                """
            class Stimulus(dj.Part):
                definition = """
                -> master
                chunk : int16       # of 0.1 s
                ---
                amplitude : <blob>  # sound envelope, linear, 20 kHz
                """
        ''',
    ),
    Step(
        LAB_A,
        "Fill it with the published data.",
        """
        Recording.insert(data.recordings)
        Recording.Spike.insert(data.spikes)
        Recording.Stimulus.insert(data.stimuli)
        len(Recording()), len(Recording.Spike()), len(Recording.Stimulus())
        """,
    ),
    Step(
        LAB_A,
        "Let lab B in: the statements that `datajoint-link grants` prints, and no other right.",
        """
        access = Access(
            source_schema="grasshopper",
            tables=look_up(lab_a.connection, "postgresql", "grasshopper", ["Recording"]),
            helper_schema="link_lab_b",
            helper_tables=["recording_outbound"],
            password=PASSWORD,
        )
        for sql in required_sql(grant_statements(access, "postgresql")):
            print(sql.replace(PASSWORD, "..."))
            lab_a.connection.query(sql)
        """,
    ),
    Step(
        LAB_A,
        "An ordinary member of lab A: may edit the source, and look at what others hold.",
        """
        for sql in (
            f"CREATE ROLE member LOGIN PASSWORD '{MEMBER_PASSWORD}'",
            "GRANT USAGE ON SCHEMA grasshopper, link_lab_b TO member",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA grasshopper TO member",
            "ALTER DEFAULT PRIVILEGES FOR ROLE djlink IN SCHEMA link_lab_b"
            " GRANT SELECT, REFERENCES ON TABLES TO member",
        ):
            lab_a.connection.query(sql)
        """,
    ),
    Step(
        LAB_B,
        "Link. The class has the name of the source table; the local table is made in the schema from_lab_a.",
        '''
        os.environ["LINK_USER"], os.environ["LINK_PASS"] = "djlink", PASSWORD
        lab_b = dj.Instance(HOST_B, "postgres", "", backend="postgresql")
        @link(HOST_A, "grasshopper", "link_lab_b", "RecordingOutbound", "from_lab_a", connection=lab_b)
        class Recording:
            """Recordings of lab A."""
        ''',
    ),
    Step(
        LAB_B,
        "Browse what lab A has; nothing is copied yet.",
        """
        Recording().source & "second < 3"
        len(Recording())
        """,
    ),
    Step(
        LAB_B,
        "Pull one experiment with all its part rows.",
        """
        print((Recording().source & "experiment = 1").pull(display_progress=True))
        """,
    ),
    Step(
        LAB_B,
        "Pull the rest. What is here already is not pulled again.",
        """
        print(Recording().source.pull(display_progress=True))
        print(Recording().source.status())
        """,
    ),
    Step(
        LAB_B,
        "Use the rows: the linked table is an ordinary DataJoint table.",
        '''
        analysis = lab_b.Schema("analysis")
        @analysis
        class FiringRate(dj.Computed):
            definition = """
            -> Recording
            ---
            rate_hz     : float64  # spikes in this second
            envelope_cv : float64  # how much the sound fluctuates: deviation / mean
            """
            def make(self, key):
                sound = np.concatenate((Recording.Stimulus() & key).to_arrays("amplitude", order_by="chunk"))
                rate = len(Recording.Spike() & key)
                self.insert1({**key, "rate_hz": rate, "envelope_cv": sound.std() / sound.mean()})
        FiringRate.populate(display_progress=True)
        FiringRate & "second < 3"
        ''',
    ),
    Step(
        MEMBER,
        "A member of lab A cannot delete a row that lab B has: the helper table holds it.",
        """
        member = dj.Instance(HOST_A, "member", MEMBER_PASSWORD, backend="postgresql")
        member.Schema("grasshopper", create_schema=False, create_tables=False).make_classes()
        (Recording & "experiment = 1 and second = 2").delete(prompt=False)
        """,
        fails=True,
    ),
    Step(
        LAB_A,
        "So lab A asks for it: its administrator flags the row, with any DataJoint client.",
        """
        helper = lab_a.Schema("link_lab_b", create_schema=False, create_tables=False)
        RecordingOutbound = helper.get_table("recording_outbound")
        key = {"experiment": 1, "second": 2}
        RecordingOutbound.update1({**key, "is_flagged": "TRUE"})
        """,
    ),
    Step(
        LAB_B,
        "Lab B sees the request and deletes the row, with what was computed from it.",
        """
        Recording().source.flagged.keys()
        (Recording() & Recording().source.flagged).delete(prompt=False)
        len(Recording()), len(FiringRate())
        """,
    ),
    Step(
        LAB_A,
        "Lab A sees that nobody has the row any more, and deletes it.",
        """
        (RecordingOutbound & key).fetch1("is_deprecated")
        (Recording & key).delete(prompt=False)
        len(Recording())
        """,
    ),
    Step(LAB_B, "Both sides agree.", "print(Recording().source.status())"),
    Step(
        LAB_A,
        "Now a whole pipeline of lab A: seven tables in two schemas, which stand on one another.",
        """
        colony, physiology = lab_a.Schema("colony"), lab_a.Schema("physiology")
        @colony
        class Species(dj.Lookup):
            definition = "species : varchar(24)"
            contents = [("Locusta migratoria",), ("Schistocerca gregaria",)]
        @colony
        class Animal(dj.Manual):
            definition = "animal : int16\\n---\\n-> Species"
        @physiology
        class Cell(dj.Manual):
            definition = "-> Animal\\ncell : int16"
        @physiology
        class Trace(dj.Manual):
            definition = "-> Cell\\nsecond : int16\\n---\\nintensity_db : float64"
            class Spike(dj.Part):
                definition = "-> master\\nspike : int16\\n---\\ntime_us : int32"
        @physiology
        class Window(dj.Lookup):
            definition = "window_ms : int16"
            contents = [(1000,), (500,)]
        @physiology
        class Rate(dj.Computed):
            definition = "-> Trace\\n-> Window\\n---\\nrate_hz : float64"
            key_source = Trace * (Window & "window_ms = 1000")
            def make(self, key):
                self.insert1({**key, "rate_hz": len(Trace.Spike & key)})
        @physiology
        class Response(dj.Computed):
            definition = "-> Cell\\n---\\nmean_hz : float64"
            def make(self, key):
                self.insert1({**key, "mean_hz": np.mean((Rate & key).to_arrays("rate_hz"))})
        """,
    ),
    Step(
        LAB_A,
        "Fill it: one cell of each of two animals. And let lab B in by schema, as `datajoint-link grants` prints it.",
        """
        cell = {1: {"animal": 1, "cell": 1}, 2: {"animal": 2, "cell": 1}}
        Animal.insert({"animal": n, "species": "Locusta migratoria"} for n in cell)
        Cell.insert(cell.values())
        Trace.insert(({**cell[row["experiment"]], **row} for row in data.recordings), ignore_extra_fields=True)
        Trace.Spike.insert(({**cell[row["experiment"]], **row} for row in data.spikes), ignore_extra_fields=True)
        Rate.populate(), Response.populate()
        schemas = {"colony": None, "physiology": None}
        owners = dict.fromkeys(schemas, ["postgres"])
        access = PipelineAccess(schemas=schemas, owners=owners, helper_schema="for_lab_b", new_user=False)
        for sql in pipeline_grants(Asked(access=access, backend="postgresql")).splitlines():
            if not sql.startswith("--"):
                print(sql)
                lab_a.connection.query(sql)
        """,
    ),
    Step(
        LAB_B,
        "What would it take to have the rates of animal 1? A plan only asks: it names what they stand on.",
        """
        ours = {"colony": "b_colony", "physiology": "b_physiology"}
        pipeline = Pipeline(HOST_A, ours, "for_lab_b", connection=lab_b)
        print(pipeline.plan(pipeline.source.physiology.Rate & "animal = 1"))
        """,
    ),
    Step(
        LAB_B,
        "Pull the animal with all that was derived from it, and the small lookup tables whole.",
        """
        animal = pipeline.source.colony.Animal & "animal = 1"
        print(pipeline.pull(animal, descendants=True, lookups="whole", display_progress=True))
        """,
    ),
    Step(
        LAB_B,
        "The local tables are a true pipeline: real foreign keys and tiers. Lab A's own code goes on in it.",
        '''
        Trace, Window = pipeline.physiology.Trace, pipeline.physiology.Window
        pipeline.physiology.Rate().parents()
        @lab_b.Schema("b_physiology")
        class Rate(dj.Computed):
            definition = """
            -> Trace
            -> Window
            ---
            rate_hz : float64
            """
            def make(self, key):
                start, width = key["second"] * 1e6, key["window_ms"] * 1e3
                spikes = (Trace.Spike & key).to_arrays("time_us") - start
                self.insert1({**key, "rate_hz": 1e6 * (spikes < width).sum() / width})
        Rate.populate(display_progress=True)
        len(Rate()), len(Rate & "window_ms = 500")
        ''',
    ),
    Step(
        LAB_B,
        "One deletion, one prompt: what is held of six tables is released.",
        """
        held = pipeline.status()["Shared"]
        (pipeline.colony.Species & "species = 'Locusta migratoria'").delete(prompt=False)
        print(pipeline.status())
        held - pipeline.status()["Shared"]
        """,
    ),
)
