"""Machines of their own on this one: network namespaces on one bridge, whose cables can be pulled.

Needs root and iproute2. A bridge of ours has a number of its own in 198.18.0.0/15, which is set aside for tests of networks
(RFC 2544).
"""

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CAPABILITIES = (12, 21)  # CAP_NET_ADMIN, CAP_SYS_ADMIN


class NoNamespaces(Exception):
    """They cannot be made here; says why."""


def may_make_them() -> bool:
    """Whether this machine gives us the rights to: if it does, that none can be made is a fault and no reason to skip."""
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("CapEff:")]
    return all(int(line.split()[1], 16) >> number & 1 for number in _CAPABILITIES)


@dataclass(frozen=True)
class Machine:
    namespace: str
    cable: str
    """Our end of the cable to it."""
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command: runs it there."""
        return ("ip", "netns", "exec", self.namespace)

    def pull(self) -> None:
        """No packet comes or goes, and nobody is told."""
        ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        ip("link", "set", self.cable, "up")


@dataclass(frozen=True)
class Network:
    address: str
    """Ours, on the bridge."""
    subnet: str
    machines: tuple[Machine, ...]


def ip(*words: str) -> None:
    try:
        subprocess.run(("ip", *words), check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoNamespaces("no network namespaces: there is no ip command (Debian: apt install iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NoNamespaces(f"no network namespaces: ip {' '.join(words)}: {error.stderr.strip()}") from None


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    """So many machines, until the block ends. Raises NoNamespaces."""
    bridge, net = f"pu{os.getpid():x}", f"198.18.{random.randrange(256)}"
    machines = tuple(Machine(f"{bridge}-{n}", f"{bridge}-{n}", f"{net}.{n + 2}") for n in range(count))
    with contextlib.ExitStack() as stack:
        ip("link", "add", bridge, "type", "bridge")
        stack.callback(ip, "link", "del", bridge)
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for one in machines:
            ip("netns", "add", one.namespace)
            stack.callback(ip, "netns", "del", one.namespace)  # its end of the cable goes with it, and so does ours
            ip("link", "add", one.cable, "type", "veth", "peer", "name", "eth0", "netns", one.namespace)
            ip("link", "set", one.cable, "master", bridge, "up")
            for words in (
                ("addr", "add", f"{one.address}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                ip("-netns", one.namespace, *words)
            ip("netns", "exec", one.namespace, "true")
        yield Network(f"{net}.1", f"{net}.0/24", machines)
