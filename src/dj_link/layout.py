"""Where an outbound table of the older interface says what a helper table says."""

from __future__ import annotations

from link.model.layouts import Layout

DJ_LINK = Layout(
    {"process": "_process"},
    {"is_flagged": "deletion_requested", "is_deprecated": "deletion_approved"},
    "It may have been converted: use @link then. Or LINK_OUTBOUND names the schema of other links.",
)
