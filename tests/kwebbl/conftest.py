"""Fixtures: an office with two companies behind the Realtime API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kwebbl_kit import Office, Template, make_template, office_in


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return asyncio.run(make_template(tmp_path_factory.mktemp("template")))


@pytest.fixture
async def office(tmp_path: Path, template: Template) -> AsyncIterator[Office]:
    async with office_in(tmp_path, template) as made:
        yield made
