"""The common base of both filesystems: who they are, and looking around in them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from rinofs.credentials import find_credentials
from rinofs.fs import display
from rinofs.fs.instances import Instances, remake
from rinofs.options import OPTION_NAMES, Options, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rinofs.credentials import Credentials, Service
    from rinofs.fs.browse import Info

_OWN_OPTIONS = OPTION_NAMES | {"endpoint_url", "token", "profile"}
_DEFAULT = Options()


class RemoteFileSystem(AbstractFileSystem, metaclass=Instances):  # type: ignore[misc]
    """Files of a service.

    Parameters
    ----------
    endpoint_url : str, optional
        Where the service is.
    token : str, optional
        The API or access token. By default the one in fsspec's configuration or environment, else that of
        the profile.
    profile : str, optional
        A stored login, as ``rinofs login`` makes them.
    timeout : float
        Seconds that the endpoint may be silent before a request fails.
    max_concurrency : int
        Requests under way at once, at most.
    use_listings_cache : bool
        Whether listings may be answered from memory.
    listings_expiry_time : float
        Seconds for which a listing may be answered from memory; 0 always asks.
    block_size : int
        Bytes that a sequential read asks for in one request, at most.
    cache_type : str
        ``rinofs``, shared by all files of the process, or the name of any of fsspec's own caches.
    verify_content : bool
        Whether whole files are checked against the digest that the service vouches for.
    parallel_ranges : int
        Connections that `get` and `get_file` use for one large file; 0 for as many as are seen to pay.
    **fsspec_options
        fsspec's own; anything else is refused.

    Raises
    ------
    InvalidOptionError
        If an option does not exist or does not take the value.
    CredentialsError
        If there is no token for the endpoint.
    """

    service: ClassVar[Service]
    root_marker = ""

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        token: str | None = None,
        profile: str | None = None,
        timeout: float = _DEFAULT.timeout,
        max_concurrency: int = _DEFAULT.max_concurrency,
        use_listings_cache: bool = _DEFAULT.use_listings_cache,
        listings_expiry_time: float = _DEFAULT.listings_expiry_time,
        block_size: int = _DEFAULT.block_size,
        cache_type: str = _DEFAULT.cache_type,
        verify_content: bool = _DEFAULT.verify_content,
        parallel_ranges: int = _DEFAULT.parallel_ranges,
        **fsspec_options: Any,
    ) -> None:
        refuse_unknown(fsspec_options, _OWN_OPTIONS)
        super().__init__()
        self.options = Options(
            timeout=timeout,
            max_concurrency=max_concurrency,
            use_listings_cache=use_listings_cache,
            listings_expiry_time=listings_expiry_time,
            block_size=block_size,
            cache_type=cache_type,
            verify_content=verify_content,
            parallel_ranges=parallel_ranges,
        )
        self.blocksize = self.options.block_size
        credentials = find_credentials(self.service, endpoint_url=endpoint_url, token=token, profile=profile)
        self.endpoint_url = credentials.endpoint_url
        self._identity = credentials.identity
        self._connect(credentials)

    # What a service does in its own way

    @abstractmethod
    def _connect(self, credentials: Credentials) -> None:
        """Take hold of what is shared by all objects of this endpoint and user; nothing is sent."""

    @abstractmethod
    def _info(self, path: str) -> Info:
        """Describe what is at a path; raises NotFoundError if there is nothing."""

    @abstractmethod
    def ls_folder(self, path: str) -> list[Info]:
        """Describe what is in the folder at a path.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        NotADirectoryError
            If it is not a folder.
        """

    def names_in(self, path: str) -> list[str]:
        """Return the paths of what is in the folder at a path; raises as `ls_folder` does."""
        return [str(info["name"]) for info in self.ls_folder(path)]

    def tree_of(self, path: str) -> list[Info] | None:  # noqa: ARG002 - for services that can
        """Describe all that is below a folder, in one request; None where the service cannot."""
        return None

    def measure(self, infos: Iterable[Info]) -> None:
        """Set the sizes that are None, where the service's listings lack them but it can be asked."""

    # Who it is

    @property
    def fsid(self) -> str:
        """The endpoint and the user."""
        return f"{self.service.name}+{self.endpoint_url}#{self._identity}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint_url}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: where it is and whose, without the token."""
        user = self._identity.removeprefix("user:") if self._identity.startswith("user:") else None
        about = {"endpoint": self.endpoint_url, "user": user or "whose token was given"}
        return display.facts(type(self).__name__, about)

    def __reduce__(self) -> tuple[Any, ...]:
        return remake, (type(self), self.storage_options)

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Return what makes this filesystem again, without its token, whatever `include_password` says."""
        made_of: dict[str, Any] = super().to_dict(include_password=include_password)
        made_of.pop("token", None)
        return made_of

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        bare = str(stringify_path(path))
        for protocol in cls.service.protocols:
            bare = bare.removeprefix(f"{protocol}://")
        return bare.strip("/")

    @classmethod
    def _parent(cls, path: str) -> str:
        return str(cls._strip_protocol(path)).rpartition("/")[0]

    def url(self, path: str) -> str:
        """Return the URL of a path, for messages."""
        return str(self.unstrip_protocol(path))

    def sign(self, path: str, expiration: int = 100, **kwargs: Any) -> str:
        """Raise NotImplementedError: neither service has URLs that work without a login."""
        raise NotImplementedError(f"{self.service.name} has no signed URLs: {self.url(path)}")
