"""Options: validated at the start, unknown ones refused, fsspec's own accepted."""

from __future__ import annotations

import inspect
import pydoc
from dataclasses import fields
from typing import Any

import fsspec
import pytest

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.errors import InvalidOptionError, InvalidOptionTypeError
from rinofs.options import FSSPEC_OPTIONS, OPTION_NAMES, Options, refuse_unknown

HERE = {"endpoint_url": "http://127.0.0.1:9", "token": "rino_never-sent"}


@pytest.mark.parametrize(
    "given",
    [
        {"timeout": 0.25, "max_concurrency": 1, "listings_expiry_time": 0, "block_size": 1},
        {"timeout": 86_400, "max_concurrency": 256, "listings_expiry_time": 1e9},
        {"use_listings_cache": False, "cache_type": "readahead", "verify_content": False},
        {"timeout": 3},
        {"parallel_ranges": 0},
        {"parallel_ranges": 16},
    ],
)
def test_values_in_range_are_taken(given: dict[str, Any]) -> None:
    options = RinoFileSystem(**HERE, **given).options
    assert {name: getattr(options, name) for name in given} == given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", 86_401),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", "30"),
        ("timeout", True),
        ("timeout", None),
        ("max_concurrency", 0),
        ("max_concurrency", 257),
        ("max_concurrency", 2.0),
        ("max_concurrency", True),
        ("use_listings_cache", 1),
        ("use_listings_cache", "yes"),
        ("listings_expiry_time", -0.1),
        ("listings_expiry_time", float("nan")),
        ("listings_expiry_time", "10"),
        ("block_size", 0),
        ("block_size", 1.5),
        ("block_size", "8MiB"),
        ("cache_type", None),
        ("cache_type", b"rinofs"),
        ("cache_type", "raedahead"),
        ("verify_content", 0),
        ("verify_content", "no"),
        ("parallel_ranges", -1),
        ("parallel_ranges", 17),
        ("parallel_ranges", True),
        ("parallel_ranges", "auto"),
    ],
)
def test_other_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidOptionError, match=name) as caught:
        RinoFileSystem(**HERE, **{name: value})
    assert isinstance(caught.value, ValueError)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("timeout", 0, "> 0 and <= 86400 seconds"),
        ("max_concurrency", 257, "from 1 to 256"),
        ("listings_expiry_time", -0.1, ">= 0 seconds"),
        ("block_size", 0, ">= 1 byte"),
        ("parallel_ranges", 17, "from 0 to 16"),
    ],
)
def test_a_value_out_of_range_is_a_value_error_that_says_the_range(
    name: str, value: float, allowed: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be {allowed}, not {value}$") as caught:
        RinoFileSystem(**HERE, **{name: value})
    assert not isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timeout": "30"}, "timeout must be int or float, not '30'"),
        ({"verify_content": 0}, "verify_content must be bool, not 0"),
        ({"quux": 1}, "unknown option 'quux'"),
        ({"token": b"abc"}, "token must be str, not bytes"),
    ],
)
def test_a_wrong_type_or_name_is_a_type_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionTypeError, match=rf"^{message}") as caught:
        RinoFileSystem(**{**HERE, **given})
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tokn", "token"),
        ("endpoint", "endpoint_url"),
        ("endpoint_uri", "endpoint_url"),
        ("time_out", "timeout"),
        ("max_concurency", "max_concurrency"),
        ("listings_expiry", "listings_expiry_time"),
        ("blocksize", "block_size"),
        ("verify", "verify_content"),
        ("profil", "profile"),
    ],
)
def test_a_misspelt_option_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(InvalidOptionError, match=rf"unknown option '{name}'; did you mean '{meant}'\?"):
        RinoFileSystem(**HERE, **{name: "x"})


def test_an_option_like_no_other_is_refused_with_the_list() -> None:
    with pytest.raises(InvalidOptionError, match="unknown option 'quux'; the options are ") as caught:
        fsspec.filesystem("rino", **HERE, quux=1)
    for name in OPTION_NAMES | {"endpoint_url", "token", "profile"}:
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["password", "secret", "api_key"])
def test_the_value_of_an_unknown_option_is_not_told(name: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        RinoFileSystem(**HERE, **{name: "canary-in-the-mine"})
    assert "canary" not in str(caught.value)


def test_positional_options_are_refused() -> None:
    with pytest.raises(TypeError):
        RinoFileSystem("http://127.0.0.1:9")


@pytest.mark.parametrize("name", sorted(FSSPEC_OPTIONS))
def test_what_is_fsspecs_own_passes(name: str) -> None:
    assert RinoFileSystem(**HERE, **{name: None}).endpoint_url == HERE["endpoint_url"]


@pytest.mark.parametrize(
    "given", [{"asynchronous": True}, {"skip_instance_cache": True}, {"use_listings_cache": True}]
)
def test_what_fsspecs_callers_pass_is_taken(given: dict[str, Any]) -> None:
    filesystem = fsspec.filesystem("rino", **HERE, **given)
    assert isinstance(filesystem, RinoFileSystem)
    assert not filesystem.async_impl


def test_refuse_unknown_takes_known_and_fsspecs_names_alone() -> None:
    refuse_unknown({"loop": None}, frozenset({"token"}))
    with pytest.raises(InvalidOptionError):
        refuse_unknown({"loops": None}, frozenset({"token"}))


def test_the_filesystem_takes_the_options_that_there_are() -> None:
    parameters = inspect.signature(RinoFileSystem.__init__).parameters
    assert {field.name for field in fields(Options)} <= set(parameters)
    for field in fields(Options):
        assert parameters[field.name].default == field.default
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY


def test_options_do_not_change() -> None:
    options = Options()
    with pytest.raises(AttributeError):
        options.timeout = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(("caches", "age"), [(True, 4.0), (False, 0.0)])
def test_the_age_of_a_listing(caches: bool, age: float) -> None:
    assert Options(use_listings_cache=caches, listings_expiry_time=4.0).listing_age == age


@pytest.mark.parametrize(
    "endpoint_url",
    [
        "",
        "rinocloud.com",
        "ftp://rinocloud.com",
        "http://",
        "https://user:secret@rinocloud.com",
        "https://a/?x=1",
        7,
    ],
)
def test_what_is_no_endpoint_is_refused(endpoint_url: Any) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        RinoFileSystem(endpoint_url=endpoint_url, token="abc")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://localhost:80", "http://LOCALHOST/"),
        ("https://rinocloud.com", "https://rinocloud.com:443/"),
        ("https://rinocloud.com/lab", "https://rinocloud.com/lab/"),
    ],
)
def test_an_endpoint_has_one_spelling(one: str, other: str) -> None:
    first = RinoFileSystem(endpoint_url=one, token="abc")
    assert RinoFileSystem(endpoint_url=other, token="abc").endpoint_url == first.endpoint_url
    assert RinoFileSystem(endpoint_url=other, token="abc")._backend.session is first._backend.session


@pytest.mark.parametrize("kind", [RinoFileSystem, RepovizzFileSystem])
def test_help_shows_the_options_with_their_defaults(kind: type) -> None:
    parameters = inspect.signature(kind).parameters
    assert set(parameters) > {"endpoint_url", "token", "profile"}
    defaults = {field.name: field.default for field in fields(Options)}
    assert {name: parameters[name].default for name in defaults} == defaults
    assert f"timeout: 'float' = {Options().timeout}" in pydoc.render_doc(kind, renderer=pydoc.plaintext)
