"""A PACS, as DLR_PACS_SERVERS has it."""

import ssl
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.errors import Code, SetupRefused
from worker.image_access import PacsNode
from worker.settings.addresses import AeTitle


class PacsServer(BaseModel):
    """Where a PACS is, whether it gives or sends, and how it is known to be the one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    ae_title: AeTitle = Field(min_length=1, max_length=16)
    host: str = Field(min_length=1, pattern=r"^[^\s@]+$")
    port: int = Field(ge=1, le=65535)
    move_to: AeTitle | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _is_verified(self) -> Self:
        if self.ca is None and (self.certificate, self.key) != (None, None):
            raise ValueError("certificate and key need a ca, with which TLS is used")
        return self

    def node(self, name: str) -> PacsNode:
        """Return it, ready to be called.

        Raises:
            SetupRefused: ``setting_invalid``.
        """
        return PacsNode(self.ae_title.strip(), self.host.strip("[]"), self.port, self.move_to, self._tls(name))

    def _tls(self, name: str) -> ssl.SSLContext | None:
        if self.ca is None:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError:
            reason = f"DLR_PACS_SERVERS: ca, certificate or key of {name} cannot be read, or do not match"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        return context
