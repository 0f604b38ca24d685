"""Share living data between DataJoint database servers.

Link a table on another lab's server, pull the rows you want, and every pulled row is held at the source for as long
as you have it. See :func:`link`.
"""

from importlib.metadata import version as _version

from . import logs as _logs
from . import mends as _mends
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
    ServerError,
    StoreError,
    TransactionError,
    TransferError,
    UnreachableError,
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

__version__ = _version("datajoint-link")

_mends.mend()
_logs.join()

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
    "UnsupportedServerError",
    "VerifyResult",
    "link",
    "load",
    "reference",
]
