"""The section `server.metadata`: what the gateway tells everybody of itself (RFC 9728)."""

from gateway.config.addresses import WebUrl
from gateway.config.patterns import Text
from gateway.config.section import Section, setting


class ResourceMetadata(Section):
    """What stands in the metadata beside issuers and kinds of tokens. Served where `origins` are given."""

    name: Text | None = setting(None, "Name of this gateway for people.")
    documentation: WebUrl | None = setting(None, "Page for those who write clients.")
    scopes: tuple[Text, ...] = setting(
        (), "Scopes that everybody may know of. What routes require is published by nothing else."
    )
