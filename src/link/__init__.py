"""Share living data between DataJoint database servers.

Link a table on another lab's server, pull the rows you want, and every pulled row is held at the source for as long
as you have it. See :func:`link`.
"""

import importlib as _importlib
import sys as _sys
import typing as _typing

if _typing.TYPE_CHECKING:
    from .api import LinkedTable, link
    from .config import reference
    from .errors import (
        ConfigError,
        ConflictError,
        ConnectionLimitError,
        CredentialsError,
        CycleError,
        DefinitionError,
        EncryptionError,
        HelperMismatchError,
        LimitError,
        LinkError,
        LocalMismatchError,
        LockedError,
        LoginError,
        NotFoundError,
        PrivilegeError,
        ReadOnlyError,
        ServerError,
        StoreError,
        TransactionError,
        TransferError,
        UnreachableError,
        UnseenError,
        UnsupportedServerError,
    )
    from .loading import load
    from .model.pipelines import PipelineRefresh, PipelineRepair, PipelineResult, PipelineStatus, PipelineVerification
    from .model.plans import Plan
    from .model.results import PullResult, RefreshResult, RepairResult, VerifyResult
    from .model.states import State
    from .model.statuses import Status
    from .pipeline import Pipeline
    from .view import Source

    __version__: str

#: Where the public names are. A module is loaded when the first of its names is asked for, so that the command line
#: can say what it does without DataJoint.
_PLACES = {
    **dict.fromkeys(("LinkedTable", "link"), "api"),
    "reference": "config",
    **dict.fromkeys(
        (
            "ConfigError",
            "ConflictError",
            "ConnectionLimitError",
            "CredentialsError",
            "CycleError",
            "DefinitionError",
            "EncryptionError",
            "HelperMismatchError",
            "LimitError",
            "LinkError",
            "LocalMismatchError",
            "LockedError",
            "LoginError",
            "NotFoundError",
            "PrivilegeError",
            "ReadOnlyError",
            "ServerError",
            "StoreError",
            "TransactionError",
            "TransferError",
            "UnreachableError",
            "UnseenError",
            "UnsupportedServerError",
        ),
        "errors",
    ),
    "load": "loading",
    **dict.fromkeys(
        ("PipelineRefresh", "PipelineRepair", "PipelineResult", "PipelineStatus", "PipelineVerification"),
        "model.pipelines",
    ),
    "Plan": "model.plans",
    **dict.fromkeys(("PullResult", "RefreshResult", "RepairResult", "VerifyResult"), "model.results"),
    "State": "model.states",
    "Status": "model.statuses",
    "Pipeline": "pipeline",
    "Source": "view",
}

__all__ = [
    "ConfigError",
    "ConflictError",
    "ConnectionLimitError",
    "CredentialsError",
    "CycleError",
    "DefinitionError",
    "EncryptionError",
    "HelperMismatchError",
    "LimitError",
    "LinkError",
    "LinkedTable",
    "LocalMismatchError",
    "LockedError",
    "LoginError",
    "NotFoundError",
    "Pipeline",
    "PipelineRefresh",
    "PipelineRepair",
    "PipelineResult",
    "PipelineStatus",
    "PipelineVerification",
    "Plan",
    "PrivilegeError",
    "PullResult",
    "ReadOnlyError",
    "RefreshResult",
    "RepairResult",
    "ServerError",
    "Source",
    "State",
    "Status",
    "StoreError",
    "TransactionError",
    "TransferError",
    "UnreachableError",
    "UnseenError",
    "UnsupportedServerError",
    "VerifyResult",
    "link",
    "load",
    "reference",
]


if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        if name == "__version__":
            value = _importlib.import_module("importlib.metadata").version("datajoint-link")
        elif name in _PLACES:
            _begin()
            value = getattr(_importlib.import_module(f".{_PLACES[name]}", __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _begin() -> None:
    """DataJoint is mended, and our words go its way, before anything is used: a module does so when it is loaded."""
    _importlib.import_module(".servers.sites", __name__)


if "datajoint" in _sys.modules:
    _begin()
