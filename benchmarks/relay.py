"""Two proxies with a long wire, one to each server, in a process of their own: `relay.py MILLISECONDS PORT PORT`."""

from __future__ import annotations

import sys

from proxy import Proxy


def main() -> None:
    """Print the ports and forward until standard input closes."""
    delay, *ports = map(float, sys.argv[1:])
    proxies = [Proxy("127.0.0.1", int(port), delay) for port in ports]
    sys.stdout.write(" ".join(str(proxy.port) for proxy in proxies) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
