"""A PostgreSQL server for tests of databases."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of its own, reached by a socket and a password."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    found = places[-1].parent if places else shutil.which("initdb") and Path(str(shutil.which("initdb"))).parent
    if not found:
        pytest.skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
    if find_spec("psycopg") is None:
        pytest.skip("no driver for PostgreSQL is installed (pip install 'profuse[postgres]')")
    folder = tmp_path_factory.mktemp("pg")
    shutil.chown(folder, "postgres") if os.geteuid() == 0 else None
    for place in (folder, *folder.parents[:3]) if os.geteuid() == 0 else ():
        if place != Path("/tmp"):
            place.chmod(0o755)
    (folder / "word").write_text("hu:sh\n")
    (folder / "word").chmod(0o644)
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def run(*command: object) -> None:
        subprocess.run([*as_user, *map(str, command)], check=True, stdout=subprocess.DEVNULL, timeout=60)

    run(found / "initdb", "-D", folder / "data", "-U", "me", "-A", "scram-sha-256", f"--pwfile={folder / 'word'}")
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run(found / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", settings, "start")
    try:
        yield f"postgresql://me:hu%3Ash@/postgres?host={folder}"
    finally:
        run(found / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
