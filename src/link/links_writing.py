"""Adding a source and a link to a ``links.toml``. Connects nowhere."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .addresses import config_error
from .links_file import NAME, read_links

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def add_link(path: Path, link: tuple[str, Mapping[str, Any]], source: tuple[str, Mapping[str, Any]]) -> None:
    """Write a link to the end of a ``links.toml``, and its source, if it is not there; what is there stays as it is.

    Parameters
    ----------
    path : Path
        The file; it is made when it is missing.
    link, source : tuple of str and mapping
        The name and the settings of each; of a source that is there, the settings are not looked at.

    Raises
    ------
    ConfigError
        There is such a link already, or the settings are not what the file may hold. Nothing was written.
    """
    before = path.read_text("utf-8") if path.exists() else ""
    known = read_links(path) if before.strip() else None
    name, settings = link
    if known and name in known.links:
        raise config_error(f"{path} has a [link.{name}] already.", "Choose another name, or change it there.")
    added = "" if known and source[0] in known.sources else _table("source", *source)
    added += _table("link", name, settings)
    between = ("\n" if before.endswith("\n") else "\n\n") if before.strip() else ""
    _require_good(path, f"{before}{between}{added}")
    with path.open("a", encoding="utf-8") as file:  # whatever comes of it, what is there stays
        file.write(between + added)


def _require_good(path: Path, text: str) -> None:
    """Read it before it is written, so that nothing is broken that was good."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder).resolve() / NAME
        trial.write_text(text, "utf-8")
        try:
            read_links(trial)
        except Exception as error:
            from .errors import ConfigError

            if not isinstance(error, ConfigError):
                raise
            raise ConfigError(error.what.replace(str(trial), str(path)), error.hint) from None


def _table(kind: str, name: str, settings: Mapping[str, Any]) -> str:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in settings.items() if value not in (None, {}, [])]
    return "\n".join([f"[{kind}.{_key(name)}]", *lines, "", ""])


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
    # Texts, numbers, lists and truth are written as JSON has them; DEL alone is a letter there.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
