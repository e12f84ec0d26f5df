"""Build and run images without a daemon: buildah, podman and runc, with a storage of their own.

The images that the Dockerfile starts from are stand-ins, made from Debian's packages and PyPI's uv:
tests need no registry of images. Nothing is skipped: a missing tool fails the test that needs it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from projects import environment, run

BASE = """\
FROM scratch
ADD base.tar /
COPY ca-certificates.crt /etc/ssl/certs/
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin UV_SYSTEM_CERTS=1
RUN ln -s /usr/bin/python3 /usr/local/bin/python
"""
UV = "FROM scratch\nCOPY uv /\n"
POSTGRES = """\
FROM scratch
ADD postgres.tar /
COPY --chmod=755 start /usr/local/bin/
ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin
ENV PGDATA=/var/lib/postgresql/17/docker
USER postgres
CMD ["start"]
"""
# As the image that it stands in for does, from the same two variables.
START = """\
#!/bin/sh -e
if ! [ -e "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 --auth=scram-sha-256
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_USER" | postgres --single postgres
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
"""
BUILD = ("--format=docker", "--isolation=chroot", "--network=host", "--pull-never")
PACKAGES = "python3,ca-certificates"


def tool(name: str) -> str:
    """Return the path of a command: of this environment, or of the system."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    path = shutil.which(name, path=folders)
    assert path, (
        f"{name} is missing: `uv sync` and scripts/install_ci_tools install what is needed."
    )
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Containers:
    """An image store, and the tools that work on it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """Return what points buildah and podman at the store."""
        return environment(
            CONTAINERS_CONF=str(self.folder / "containers.conf"),
            CONTAINERS_STORAGE_CONF=str(self.folder / "storage.conf"),
        )

    def build(self, project: Path, image: str, *options: str) -> str:
        """Build the image of a project; return the log."""
        command = (tool("buildah"), "bud", *BUILD, "--layers", *options, f"--tag={image}", ".")
        # One at a time: each finds the layers of the one before.
        with locked(self.folder / "lock"):
            return run(*command, cwd=project, env=self.env)

    def podman(self, *arguments: str) -> str:
        """Run podman; return what it printed, without its complaints about systemd."""
        command = [tool("podman"), *arguments]
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout.strip()

    def make(self) -> None:
        """Configure the store and put the stand-ins in."""
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'graphroot = "{self.folder / "storage"}"\nrunroot = "{self.folder / "run"}"\n'
        )
        # By default podman asks for more than the machine that runs these tests may give.
        limits = [f"{name}=4096:4096" for name in ("nofile", "nproc")]
        (self.folder / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = {limits}\n"
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        authorities = ssl.get_default_verify_paths()
        shutil.copy(
            authorities.cafile or authorities.openssl_cafile, self.folder / "ca-certificates.crt"
        )
        shutil.copy(tool("uv"), self.folder / "uv")
        (self.folder / "Base").write_text(BASE)
        (self.folder / "Uv").write_text(UV)
        self._debian("base.tar", PACKAGES)
        self._tag("Base", "docker.io/library/python:3.13-slim")
        self._tag("Uv", "ghcr.io/astral-sh/uv:0.13")

    def make_postgres(self) -> None:
        """Put a stand-in for the database of compose.yaml in."""
        with locked(self.folder / "lock"):
            (self.folder / "start").write_text(START)
            (self.folder / "Postgres").write_text(POSTGRES)
            self._debian("postgres.tar", "postgresql-17,postgresql-17-pgvector")
            self._tag("Postgres", "docker.io/pgvector/pgvector:pg18")

    def _debian(self, archive: str, packages: str) -> None:
        bootstrap = (tool("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={packages}")
        run(*bootstrap, "trixie", archive, cwd=self.folder, env=self.env)

    def _tag(self, file: str, image: str) -> None:
        command = (tool("buildah"), "bud", *BUILD, f"--file={file}", f"--tag={image}", ".")
        run(*command, cwd=self.folder, env=self.env)

    def remove(self) -> None:
        """Remove the store, with what is still mounted in it."""
        self.podman("rm", "--all", "--force", "--time=0")
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(str(self.folder))]):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the other workers of this test run out."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """Make one store for all workers; the last one to leave removes it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    store = Containers(shared / "containers")
    users = shared / "containers.users"
    with locked(shared / "containers.lock"):
        if not store.folder.exists():
            store.folder.mkdir()
            store.make()
        users.touch()
        with users.open("a") as file:
            file.write(".")
    yield store
    with locked(shared / "containers.lock"):
        users.write_text(users.read_text()[1:])
        if not users.read_text():
            store.remove()


@pytest.fixture
def daemon(containers: Containers, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve the store as a Docker daemon would; yield what points Docker's clients at it."""
    path = tmp_path / "docker.sock"
    command = [tool("podman"), "system", "service", "--time=0", f"unix://{path}"]
    with (tmp_path / "daemon.log").open("wb") as log:
        service = subprocess.Popen(command, env=containers.env, stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while not path.exists():
        assert service.poll() is None, (tmp_path / "daemon.log").read_text()
        assert time.monotonic() < deadline, "podman's socket did not appear"
        time.sleep(0.05)
    yield {
        **containers.env,
        "DOCKER_HOST": f"unix://{path}",
        "DOCKER_BUILDKIT": "0",
        "HOME": str(tmp_path),
    }
    service.terminate()
    service.wait(timeout=20)
