"""What can go wrong with an outside source; none of it stops another feed."""

from exchange.errors import Unavailable


class FeedFault(Unavailable):
    """A source that cannot be read now, or must not be. `code` is stable.

    feed-address      an address or a scheme that must not be called
    feed-password     the file with the source's password or key is missing, or open to others
    feed-redirect     too many redirects, or one to nowhere
    feed-size         more bytes than the source is allowed
    feed-slow         not done within the deadline
    feed-certificate  the server is not who it should be
    feed-unreachable  no connection, or it broke
    feed-http         the source answered with an error
    feed-archive      an archive that is broken, encrypted, nested, or otherwise more than plain files
    feed-form         not what the source is said to publish
    feed-stale        an older edition than the one before
    feed-incomplete   less than the source itself says there is, or far less than last time
    """

    def __init__(self, code: str, en: str, es: str, *, retry_after_seconds: int = 0) -> None:
        super().__init__(en, es, code=code, retry_after_seconds=retry_after_seconds)
