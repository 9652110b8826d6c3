"""What the hub writes of itself has no secret in it, also when something fails."""

import io
import logging

import pytest
import structlog
from aiohttp.http_exceptions import InvalidHeader

from exchange import observe


@pytest.mark.parametrize("machine", [True, False])
def test_a_traceback_tells_where_and_no_values(machine: bool) -> None:
    before = structlog.get_config()
    said = io.StringIO()
    try:
        observe.configure(machine=machine, file=said)
        token = "puente_" + "secret"
        try:
            if token.startswith("puente"):
                raise RuntimeError("a failure")
        except RuntimeError as error:
            structlog.get_logger("puente.test").error("a handler failed", exc_info=error)
    finally:
        structlog.configure(**before)
    assert "test_observe.py" in said.getvalue()
    assert "puente_secret" not in said.getvalue()


def test_what_could_not_be_read_as_http_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    logger = observe.http_logger()
    try:
        raise InvalidHeader(b"Authorization: Bearer puente_secret\0")
    except InvalidHeader as error:
        logger.error("Error handling request from %s", "198.51.100.7", exc_info=error)
    [record] = caplog.records
    assert record.getMessage() == "Error handling request from 198.51.100.7: InvalidHeader"
    assert "secret" not in logging.Formatter().format(record)
    assert observe.http_logger().filters == logger.filters
    assert len(logger.filters) == 1


def test_other_faults_keep_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("ours")
    except RuntimeError as error:
        observe.http_logger().error("Unhandled exception", exc_info=error)
    assert caplog.records[0].exc_info is not None
