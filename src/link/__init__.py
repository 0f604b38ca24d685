"""Share living data between DataJoint database servers.

Link a table on another lab's server, pull the rows you want, and every pulled row is held at the source for as long
as you have it. See :func:`link`.
"""

from importlib.metadata import version as _version

from .api import LinkedTable, Source, link
from .config import reference
from .errors import (
    ConfigError,
    CredentialsError,
    DefinitionError,
    HelperMismatchError,
    LinkError,
    LocalMismatchError,
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
from .repair import RepairResult
from .results import PullResult, Status
from .states import State
from .verify import VerifyResult

__version__ = _version("datajoint-link")

__all__ = [
    "ConfigError",
    "CredentialsError",
    "DefinitionError",
    "HelperMismatchError",
    "LinkError",
    "LinkedTable",
    "LocalMismatchError",
    "LoginError",
    "NotFoundError",
    "PrivilegeError",
    "PullResult",
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
    "reference",
]
