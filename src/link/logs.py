"""What this package logs, said as DataJoint says its own: by its handlers, in its format, from its level on."""

from __future__ import annotations

import logging

import datajoint as dj
from tqdm import tqdm

#: What every module of this package logs to.
LOGGER = logging.getLogger("link")
#: Of the logger, where nobody has set one: what is logged is decided by DataJoint's.
_ALL = 1


class _AsDataJoint(logging.Handler):
    """Hands on what is logged to DataJoint's handlers, unless the application has its own, to which it comes anyway."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            with tqdm.external_write_mode():  # not into the middle of a progress bar
                dj.logger.handle(record)


def join() -> None:
    """Let what is logged here go the way of what DataJoint logs, and follow its level (``DJ_LOG_LEVEL``)."""
    LOGGER.addFilter(_is_wanted)
    LOGGER.addHandler(_AsDataJoint())
    LOGGER.setLevel(LOGGER.level or _ALL)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether DataJoint would log it; somebody who sets a level of this package's logger wants that one."""
    return LOGGER.level != _ALL or dj.logger.isEnabledFor(record.levelno)
