"""For every test: no request to a model leaves this machine, and the user's journal and settings stay untouched."""

import pytest


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")
    monkeypatch.setenv("SMOL_JOURNAL", str(tmp_path / "default-journal.sqlite"))
    monkeypatch.delenv("SMOL_MODEL", raising=False)
    monkeypatch.delenv("SMOL_API_BASE", raising=False)
