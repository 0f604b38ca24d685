"""Diagrams of a source, with counts; loaded when the first is drawn, for the libraries that draw are slow to import."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import datajoint as dj

from .errors import LinkError
from .host import DataJointError


class Drawing(dj.Diagram):  # type: ignore[misc]
    """A diagram of some tables, with a line of text at some of them.

    Parameters
    ----------
    schemas : mapping
        Modules by name, in which the tables have classes; one at least.
    shown : collection of str
        Quoted full names of the tables.
    texts : mapping of str to str
        What is said of tables, by the names of their classes within the schemas.
    """

    def __init__(self, schemas: Mapping[str, Any], shown: Collection[str], texts: Mapping[str, str]) -> None:
        super().__init__(next(iter(schemas.values())), context=dict(schemas))
        self.nodes_to_show = set(shown) & set(self.nodes())
        self._expanded_nodes = set(self.nodes_to_show)
        self._texts = texts

    def make_dot(self, theme: Any = None) -> Any:
        """The diagram for graphviz."""
        with self._drawing():
            dot = super().make_dot(theme=theme)
        for node in dot.get_nodes():
            label = str(node.get_label() or "")
            if text := self._texts.get(node.get_name().strip('"')):
                name = label[1:-1] if label.startswith("<") else html.escape(label.strip('"'))
                node.set_label(f"<{name}<br/>{html.escape(text)}>")
        return dot

    def make_mermaid(self) -> str:
        """The diagram as text for Mermaid."""
        lines = str(super().make_mermaid())
        for name, text in self._texts.items():
            node = re.escape(re.sub(r"\W", "_", name))
            lines = re.sub(rf"(?m)^(\s+{node}\W+)([\w.]+)(\W+:::)", rf"\1\2<br/>{text}\3", lines)
        return lines

    def svg_string(self) -> str:
        """The diagram as SVG."""
        with self._drawing():
            return str(super().svg_string())

    def make_png(self) -> Any:
        """The diagram as PNG."""
        with self._drawing():
            return super().make_png()

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """Say what is missing where diagrams cannot be drawn."""
        try:
            yield
        except (DataJointError, FileNotFoundError) as error:
            if isinstance(error, LinkError) or (isinstance(error, DataJointError) and "Install" not in str(error)):
                raise
            raise LinkError(
                "Diagrams are drawn by graphviz, through pydot: one of them is not installed here.",
                "pip install pydot, and the program graphviz; or make_mermaid(), which needs neither.",
            ) from error
