"""Choose the token for an endpoint.

A token comes from the argument, else from fsspec's configuration and environment, else from a stored profile.
A token that belongs to an endpoint is sent to no other.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rinofs.endpoints import canonical_endpoint, same_endpoint
from rinofs.errors import CredentialsError, InvalidOptionError, InvalidOptionTypeError
from rinofs.profiles import DEFAULT_PROFILE, ProfileStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rinofs.profiles import Profile


class ConfiguredToken(str):
    """A token from fsspec's configuration or environment, not from the user's code.

    The type marks tokens that are not pickled with a filesystem. The repr does not contain the token.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<configured token {digest_of(self)}>"


class ChosenLogin(str):
    """The name of the stored login to use if there is no token; empty for the default.

    fsspec compares filesystem instances by the repr of their options. This repr contains the login's current
    owner, so another login with the same name creates another instance.
    """

    __slots__ = ("_whose",)
    _whose: str

    @classmethod
    def of(cls, name: str | None, profile: Profile | None) -> ChosenLogin:
        """Return the name with the login that is stored under it, if any."""
        login = cls(name or "")
        login._whose = f"{profile.endpoint_url} {identity_in(profile)}" if profile else "nobody"
        return login

    def __repr__(self) -> str:
        return f"<login {str(self)!r} of {self._whose}>"


@dataclass(frozen=True, slots=True)
class Service:
    """The properties of a service that determine its tokens.

    Attributes
    ----------
    name : str
        Name in the profile store, and first fsspec protocol.
    protocols : tuple of str
        Protocols to look up in fsspec's configuration; later ones take precedence.
    endpoint_url : str
        Default URL of the service.
    """

    name: str
    protocols: tuple[str, ...]
    endpoint_url: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token and its endpoint.

    Attributes
    ----------
    endpoint_url : str
        In canonical form.
    token : str
        Not in the repr.
    profile : Profile or None
        The stored login that contains it, if any.
    origin : str
        Where the token came from, for messages.
    remedy : str
        What to do if the service refuses it, for messages.
    """

    endpoint_url: str
    token: str = field(repr=False)
    profile: Profile | None = field(default=None, repr=False)
    origin: str = field(default="", compare=False)
    remedy: str = field(default="", compare=False)

    @property
    def advice(self) -> str:
        """Where the token came from, and what to do if the service refuses it, for messages."""
        return f"it came from {self.origin}: {self.remedy}" if self.origin else ""

    @property
    def identity(self) -> str:
        """Identifies the user in cache keys.

        The user name if a profile contains it, so that caches survive a new token of the same user; else a
        digest of the token.
        """
        return identity_in(self.profile) if self.profile else f"token:{digest_of(self.token)}"


def identity_in(profile: Profile) -> str:
    """Return the identity of a stored login: the user name if known, else a digest of its token."""
    return f"user:{profile.username}" if profile.username else f"token:{digest_of(profile.token)}"


def digest_of(secret: str) -> str:
    """Return a digest that identifies a secret without revealing it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def find_credentials(
    service: Service, *, endpoint_url: str | None, token: str | None, profile: str | None
) -> Credentials:
    """Choose the token and the endpoint.

    Parameters
    ----------
    service : Service
        Service.
    endpoint_url, token, profile : str, optional
        Arguments of the user, or values from the configuration.

    Returns
    -------
    Credentials
        Token and endpoint.

    Raises
    ------
    CredentialsError
        If there is no token for the endpoint.
    InvalidOptionError
        If the endpoint is not the URL of a server, or the token contains characters that are not allowed in a
        header.
    """
    if token is not None:
        _check_token(token)
        where = canonical_endpoint(endpoint_url if endpoint_url is not None else service.endpoint_url)
        return Credentials(where, str(token), None, *_origin_of(service, token))
    profile = str(profile) if profile else None
    stored = ProfileStore().load(service.name, profile)
    if stored is None and profile is not None:
        raise CredentialsError(
            f"no {service.name} profile {profile!r}; log in with "
            f"`rinofs login {service.name} --profile {profile}`"
        )
    if stored is not None and (endpoint_url is None or same_endpoint(stored.endpoint_url, endpoint_url)):
        return _stored_credentials(stored, ProfileStore().path)
    where = canonical_endpoint(endpoint_url if endpoint_url is not None else service.endpoint_url)
    if stored is not None and profile is not None:
        raise CredentialsError(
            f"the token of the profile {profile!r} is for another server, {stored.endpoint_url}; "
            "log in to this one under another profile",
            where,
        )
    variable = f"FSSPEC_{service.name.upper()}"
    other = f"; for another server, set {variable}_ENDPOINT_URL as well" if endpoint_url is None else ""
    raise CredentialsError(
        f"no token for this endpoint; pass token=..., set {variable}_TOKEN, "
        f"or run `rinofs login {service.name} --endpoint-url {where}`{other}",
        where,
    )


def _stored_credentials(profile: Profile, file: Path) -> Credentials:
    endpoint_url = canonical_endpoint(profile.endpoint_url)
    named = "" if profile.name == DEFAULT_PROFILE else f" --profile {profile.name}"
    login = f"`rinofs login {profile.service} --endpoint-url {endpoint_url}{named}`"
    origin = f"the profile {profile.name!r} in {file}"
    return Credentials(endpoint_url, profile.token, profile, origin, f"log in again with {login}")


def _origin_of(service: Service, token: str) -> tuple[str, str]:
    """Return where a token without a profile came from, and what to do if it is refused."""
    if not isinstance(token, ConfiguredToken):
        return "the option token=", "pass a valid token"
    for protocol in reversed(service.protocols):
        for variable, written in _tokens_in_environment(protocol).items():
            if written == token:
                return f"the environment variable {variable}", "set a valid token there, or unset it"
    return "fsspec's configuration", f"replace it there, or remove it and run `rinofs login {service.name}`"


def _check_token(token: object) -> None:
    if not isinstance(token, str):
        raise InvalidOptionTypeError(f"token must be str, not {type(token).__name__}")
    if not token or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise InvalidOptionError("token must be printable ASCII without spaces, and not empty")


def configured_options(
    service: Service, given: Mapping[str, Any], conf: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Merge options from code with fsspec's configuration, before fsspec does.

    fsspec parses environment variables as JSON, so that a token ``1e5`` would become a number; here it
    remains text. A configured token is used for the configured endpoint only.

    Parameters
    ----------
    service : Service
        Service.
    given : mapping
        Options from code, by name.
    conf : mapping
        fsspec's configuration, by protocol.

    Returns
    -------
    dict
        `given`, with a `ConfiguredToken` if the configuration has a token for the endpoint, ``token=None`` if
        it has one for another endpoint, and a `ChosenLogin` if there is no token.

    Raises
    ------
    CredentialsError
        If a stored login is needed and the file of logins is not valid.
    """
    if given.get("token") is not None:
        return dict(given)
    configured: dict[str, Any] = {}
    for protocol in service.protocols:
        configured |= conf.get(protocol, {})
    token = _configured_token(service, given, configured)
    if token is not None:
        return {**given, "token": ConfiguredToken(token)}
    name = given.get("profile", configured.get("profile"))
    login = ChosenLogin.of(name, ProfileStore().load(service.name, name))
    return {**given, "profile": login} | ({"token": None} if "token" in configured else {})


def _configured_token(
    service: Service, given: Mapping[str, Any], configured: Mapping[str, Any]
) -> str | None:
    if "token" not in configured or given.get("profile") is not None:
        return None
    if not _meant_for(given.get("endpoint_url"), configured, service):
        return None
    return _text_of_token(service, configured["token"])


def _meant_for(endpoint_url: str | None, configured: Mapping[str, Any], service: Service) -> bool:
    if endpoint_url is None:
        return True
    return same_endpoint(endpoint_url, configured.get("endpoint_url") or service.endpoint_url)


def _text_of_token(service: Service, value: Any) -> str | None:
    """Return the token as it was written, before fsspec parsed it."""
    if value is None or isinstance(value, str):
        return value
    for protocol in reversed(service.protocols):
        for written in _tokens_in_environment(protocol).values():
            if json.dumps(_as_json(written)) == json.dumps(value):  # NaN is not equal to itself
                return written
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


def _tokens_in_environment(protocol: str) -> dict[str, str]:
    prefix = f"FSSPEC_{protocol.upper()}"
    found = {f"{prefix}_TOKEN": os.environ.get(f"{prefix}_TOKEN")}
    try:
        keep = json.loads(os.environ.get(prefix, "{}"), parse_int=str, parse_float=str, parse_constant=str)
        found[prefix] = keep.get("token")
    except (ValueError, AttributeError):
        pass  # fsspec has already warned about it
    return {variable: text for variable, text in found.items() if isinstance(text, str)}


def _as_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
