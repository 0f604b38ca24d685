"""Stores opened by their names in DataJoint's settings."""

from __future__ import annotations

from ..errors import LinkError, StoreError
from ..host import Config, DataJointError, get_store_backend
from .stores import AnyStore, FileStore, Store


def open_store(config: Config, name: str) -> Store:
    """The store of this name in DataJoint's settings; the empty name stands for the default store.

    Raises
    ------
    StoreError
        It is not configured, or not as it must be.
    """
    key = name if name or name in config.stores else None
    try:
        backend = get_store_backend(key, config=config)
        if backend.protocol == "file":
            return FileStore(name, backend)
        if backend.protocol == "s3":
            from .s3 import S3Store, proxied

            return AnyStore(name, backend) if proxied(backend) else S3Store(name, backend)
        return AnyStore(name, backend)
    except LinkError:
        raise
    except ImportError as error:
        raise StoreError(
            f"The store {name!r} needs a package that is not installed: {error}", "pip install datajoint-link[s3]"
        ) from error
    except (DataJointError, OSError) as error:
        raise StoreError(
            f"The store {name!r} cannot be used: {error}", f"Look at dj.config.stores[{key!r}]."
        ) from error
