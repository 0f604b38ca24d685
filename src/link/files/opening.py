"""Stores opened by their names in DataJoint's settings."""

from __future__ import annotations

import threading

from ..errors import LinkError, StoreError
from ..host import Config, DataJointError, get_store_backend
from .any_store import AnyStore
from .stores import FileStore, Store, shown


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
            from .s3 import S3Store

            return S3Store(name, backend)
        return AnyStore(name, backend)
    except LinkError:
        raise
    except ImportError as error:
        raise StoreError(
            f"The store {name!r} needs a package that is not installed: {error}", "pip install 'datajoint-link[s3]'"
        ) from error
    except (DataJointError, OSError) as error:
        raise StoreError(
            f"The store {name!r} cannot be used: {error}", f"Look at dj.config.stores[{key!r}]."
        ) from error
    except Exception as error:  # each filesystem has its own
        raise StoreError(
            f"The store {name!r} cannot be used: {shown(error)}", f"Look at dj.config.stores[{key!r}]."
        ) from error


class OpenStores:
    """Stores that are opened when they are first needed, by any thread, and closed together.

    Parameters
    ----------
    config : Config
        DataJoint's settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stores: dict[str, Store] = {}
        self._latest: Store | None = None
        self._opening = threading.Lock()

    def find(self, name: str) -> Store:
        """The store of this name, which is there.

        Raises
        ------
        StoreError
            It is not.
        """
        with self._opening:
            if name not in self._stores:
                self._latest = opened = open_store(self._config, name)
                try:
                    opened.require_there()
                except BaseException:
                    opened.close()
                    raise
                self._stores[name] = opened
            return self._stores[name]

    def stop(self) -> None:
        """Let all of them be patient no more: nobody waits for what they do."""
        for store in (*self._stores.values(), *([self._latest] if self._latest else [])):
            store.stop()

    def close(self) -> None:
        """Close all of them."""
        for store in self._stores.values():
            store.close()
