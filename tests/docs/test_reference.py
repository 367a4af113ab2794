"""The reference of the command line says what the commands say."""

from __future__ import annotations

import click

from tests.docs.reference import PAGE, commands, reference


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "write it anew: python -m tests.docs.reference"


def test_every_command_says_what_it_and_its_options_do() -> None:
    for context in commands():
        assert context.command.help, context.command_path
        for option in context.command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{context.command_path} {option.opts}"


def test_every_command_is_on_the_page() -> None:
    text = reference()
    found = [context.command_path for context in commands()]
    assert "rinofs ls" in found
    assert "rinofs admin user add" in found
    for path in found:
        assert f"\n### {path}\n" in text
