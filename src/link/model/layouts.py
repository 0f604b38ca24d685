"""Where a helper table says what a :class:`~link.model.states.HelperRow` says.

``@link`` has a visible column for each. Another layout may have some of them in hidden columns, or in part tables of
the helper table: there a flag is TRUE where the part has the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .states import FLAGS, PROCESSES

WORKER = "_worker"
#: Hidden columns with times, by the source's clock: since when the row holds for the copy of now, when a refresh has
#: last changed that copy (or what the dialect has for never), when the source has last set or taken back the flag.
PULLED, REFRESHED, FLAGGED = TIMES = ("_pulled", "_refreshed", "_flagged")

#: The columns of a helper table beside its key: each with its labels, the default last; without any for a number; None
#: for a time.
HelperColumns = Mapping[str, tuple[str, ...] | None]

_LABELS = {"process": PROCESSES, "is_flagged": FLAGS, "is_deprecated": FLAGS}


@dataclass(frozen=True)
class Layout:
    """One way to lay out a helper table.

    Attributes
    ----------
    columns : mapping of str to str
        What a column says, and its name.
    parts : mapping of str to str
        What a part table of the helper table says, and the end of its name.
    elsewhere : str
        What to do about a helper table of another layout.
    times : tuple of str
        Hidden columns that say since when; there may be none of them.
    """

    columns: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)
    elsewhere: str = "Name another helper table in @link, or another helper_schema= of a Pipeline."
    times: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """What may stand in each column, last what does unless it is said otherwise."""
        return {column: _LABELS[said] for said, column in self.columns.items()}

    @property
    def hidden(self) -> HelperColumns:
        """What a helper table has beside these, hidden from the source's users."""
        return {WORKER: (), **dict.fromkeys(self.times)}

    @property
    def visible(self) -> dict[str, tuple[str, ...]]:
        """The labels of those columns that DataJoint shows; they must be there, the others can be added."""
        return {column: labels for column, labels in self.labels.items() if not column.startswith("_")}

    @property
    def requested(self) -> str | None:
        """The end of the name of the local part table that shows what the source wants deleted, if there is one."""
        return self.parts.get("is_flagged")


LINK = Layout(
    {"process": "process", "is_flagged": "is_flagged", "is_deprecated": "is_deprecated"},
    times=TIMES,
)
#: The outbound tables of the older interface.
DJ_LINK = Layout(
    {"process": "_process"},
    {"is_flagged": "deletion_requested", "is_deprecated": "deletion_approved"},
    "It may have been converted: use @link then. Or LINK_OUTBOUND names the schema of other links.",
)
