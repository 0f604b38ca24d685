"""Previews that say what they show: a table of the source or a local one, and where it is."""

from __future__ import annotations

import html
from typing import Any, cast


class Captioned:
    """A table whose previews have a caption."""

    def _caption(self) -> str:
        """Which table this is, where, and what else is known of its rows."""
        raise NotImplementedError

    def preview(self, limit: int | None = None, width: int | None = None) -> str:
        """The first rows as text, as DataJoint shows them, below a line that says where they are.

        Parameters
        ----------
        limit : int, optional
            How many rows at most.
        width : int, optional
            How wide a column may be.

        Returns
        -------
        str
            Some lines.
        """
        return f"{self._caption()}\n{cast(Any, super()).preview(limit, width)}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._caption())}</p>{cast(Any, super())._repr_html_()}"
