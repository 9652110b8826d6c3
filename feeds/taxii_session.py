"""The transport under taxii2-client, held to the same rules as every feed: where it may call, how much, how long."""

import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from taxii2client import v20
from taxii2client.common import _HTTPConnection
from taxii2client.exceptions import TAXIIServiceException
from taxii2client.v21 import Collection
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse
from urllib3.util.connection import create_connection

from feeds.catalogue import Source
from feeds.faults import FeedFault
from feeds.fetch import REDIRECTS, USER_AGENT, Caps, retry_after_seconds, secret_of
from feeds.guard import Reach, check_address, check_url

_TYPES = {"2.1": "application/taxii+json;version=2.1", "2.0": "application/vnd.oasis.stix+json; version=2.0"}
"""What taxii2-client insists on for objects, by version."""

_CONNECT_SECONDS = 10.0
_PIECE_BYTES = 65_536


@dataclass(slots=True)
class Taken:
    """The last answer, as it came: what taxii2-client parses, we parse again, strictly."""

    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def guard_session(session: requests.Session, reach: Reach, caps: Caps, *, version: str = "2.1") -> Taken:
    """Put a session under the rules; answers are found in what is returned. FeedFault is raised through its calls.

    No proxy settings or .netrc are read; requests itself drops the password when a redirect leaves the host.
    """
    taken = Taken()
    adapter = _Guarded(reach, caps, taken, _TYPES[version])
    for prefix in ("https://", "http://"):
        session.mount(prefix, adapter)
    session.trust_env = False
    session.max_redirects = REDIRECTS
    session.headers["User-Agent"] = USER_AGENT
    return taken


def ask(
    source: Source, query: Mapping[str, str], *, version: str = "2.1", start: int = 0
) -> tuple[dict[str, Any], Taken]:
    """One page through taxii2-client, and its bytes as they came. TAXII 2.0 counts pages by objects: from `start` on.
    Raises FeedFault."""
    password = secret_of(source.password_file) if source.password_file else None
    connection = _HTTPConnection(source.user or None, password, source.ca_file or True, version=version)
    taken = guard_session(connection.session, source.reach, source.caps, version=version)
    # What taxii2-client would ask for first says nothing we need, and many servers get its required titles wrong.
    info = {"id": source.location.rstrip("/").rpartition("/")[2], "title": source.name, "can_read": True, "can_write": False}  # fmt: skip
    try:
        if version == "2.0":
            old = v20.Collection(source.location, conn=connection, collection_info=info)
            envelope = old.get_objects(start=start, per_request=int(query["limit"]), **_less(query, "limit")).json()
        else:
            envelope = Collection(source.location, conn=connection, collection_info=info).get_objects(**query)
    except requests.HTTPError as error:
        raise _answered(error.response) from None
    except (requests.exceptions.JSONDecodeError, TAXIIServiceException) as error:
        raise FeedFault(
            "feed-form",
            f"The server's answer is not TAXII {version}: {type(error).__name__}.",
            f"La respuesta del servidor no es TAXII {version}: {type(error).__name__}.",
        ) from None
    except (requests.RequestException, OSError) as error:
        raise FeedFault(
            "feed-unreachable",
            f"The server cannot be reached: {type(error).__name__}.",
            f"No se puede contactar al servidor: {type(error).__name__}.",
        ) from None
    finally:
        connection.close()
    if not isinstance(envelope, dict):
        raise FeedFault("feed-form", "The server's answer is not an envelope.", "La respuesta no es un sobre TAXII.")
    return envelope, taken


def _less(query: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in query.items() if key != name}


def _answered(response: requests.Response) -> FeedFault:
    wait = retry_after_seconds(response.headers) if response.status_code in (429, 503) else 0
    return FeedFault(
        "feed-http",
        f"The server answered {response.status_code}.",
        f"El servidor respondió {response.status_code}.",
        retry_after_seconds=wait,
    )


class _Guarded(HTTPAdapter):
    def __init__(self, reach: Reach, caps: Caps, taken: Taken, media: str) -> None:
        self._media = media
        self._reach = reach
        self._caps = caps
        self._taken = taken
        self._deadline = time.monotonic() + caps.deadline_seconds
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._reach)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        check_url(str(request.url), self._reach)
        kwargs["timeout"] = (_CONNECT_SECONDS, self._left())
        kwargs["stream"] = True
        response = super().send(request, *args, **kwargs)
        self._taken.body = self._read(response)
        self._taken.headers = response.headers
        # Read already, under our caps: requests gets the bytes from memory.
        response.raw = HTTPResponse(io.BytesIO(self._taken.body), preload_content=False)
        if response.status_code in (200, 206) and "json" in response.headers.get("Content-Type", ""):
            response.headers["Content-Type"] = self._media  # many servers forget the version, or say plain JSON
        return response

    def _read(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        try:
            for piece in response.raw.stream(_PIECE_BYTES, decode_content=True):
                size += len(piece)
                self._left()
                if size > self._caps.size_bytes:
                    raise FeedFault(
                        "feed-size",
                        f"The page is larger than the {self._caps.size_bytes} bytes it is allowed.",
                        f"La página supera los {self._caps.size_bytes} bytes permitidos.",
                    )
                parts.append(piece)
        except HTTPError as error:
            raise requests.ConnectionError(error) from None
        finally:
            response.raw.release_conn()
        return b"".join(parts)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise FeedFault(
                "feed-slow",
                f"The server did not finish within {self._caps.deadline_seconds:g} seconds.",
                f"El servidor no terminó en {self._caps.deadline_seconds:g} segundos.",
            )
        return left


def _pools(reach: Reach) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools that resolve a name once, judge what it resolved to, and connect to that and nothing else."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, reach)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, reach)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _connected(connection: HTTPConnection, reach: Reach) -> socket.socket:
    """Raises FeedFault when any address of the host is not to be called, OSError when none answers."""
    host = connection.host.strip("[]")
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM)]
    for address in found:
        check_address(address, reach)
    fault: OSError = OSError("no address")
    for address in found:
        try:
            return create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            fault = error
    raise fault
