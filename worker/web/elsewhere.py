"""Signing in elsewhere, as the settings have it: by an OpenID provider, or by a proxy before the page."""

from worker.errors import Code, SetupRefused
from worker.settings import Settings
from worker.web.openid import OpenId
from worker.web.proxy import Vouching
from worker.web.vouching import roles_of


def check_elsewhere(settings: Settings) -> bool:
    """Return whether readers sign in elsewhere.

    Raises:
        SetupRefused: ``setting_invalid``; it is half set up.
    """
    by_openid, by_proxy = settings.web_oidc_issuer is not None, settings.web_proxy_user_header is not None
    if by_openid and by_proxy:
        raise _refused("DLR_WEB_OIDC_ISSUER and DLR_WEB_PROXY_USER_HEADER are two ways to sign in: set one")
    if by_openid and settings.web_oidc_client_id is None:
        raise _refused("DLR_WEB_OIDC_ISSUER needs DLR_WEB_OIDC_CLIENT_ID, under which this page is registered there")
    if by_proxy and not settings.web_behind_proxy:
        raise _refused("DLR_WEB_PROXY_USER_HEADER needs DLR_WEB_BEHIND_PROXY, the addresses from which it is believed")
    if (by_openid or by_proxy) and not roles_of(settings.web_roles):
        raise _refused("DLR_WEB_ROLES is not set: say which group has which role (GROUP=radiologist)")
    return by_openid or by_proxy


def openid_of(settings: Settings) -> OpenId | None:
    """Return the provider; ``None``: readers do not sign in by one. Nothing is asked of it yet."""
    if settings.web_oidc_issuer is None or settings.web_oidc_client_id is None:
        return None
    secret = settings.web_oidc_client_secret
    return OpenId(
        issuer=str(settings.web_oidc_issuer),
        client_id=settings.web_oidc_client_id,
        client_secret=None if secret is None else secret.get_secret_value(),
        scope=settings.web_oidc_scope,
        name_claim=settings.web_oidc_name_claim,
        role_claim=settings.web_oidc_role_claim,
        roles=roles_of(settings.web_roles),
        ca=True if settings.web_oidc_ca is None else str(settings.web_oidc_ca),
    )


def vouching_of(settings: Settings) -> Vouching | None:
    """Return what is believed of what a proxy says; ``None``: nothing but where a request came from."""
    if settings.web_proxy_user_header is None:
        return None
    return Vouching(settings.web_proxy_user_header, settings.web_proxy_groups_header, roles_of(settings.web_roles))


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.SETTING_INVALID, reason)
