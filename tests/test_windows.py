"""What a system without POSIX has to do without.

No test runs on Windows: here a process is deprived of the calls that Windows lacks, which is all that can be done.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import scripts
from buckets import Buckets
from filing import Stores, collected, fetched, fill, recordings
from lab import Lab
from pipelines import linked

WITHOUT_POSIX = """
    import contextlib, os, pathlib, signal, socket, sys, warnings
    sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
    for module, names in {
        os: ["O_DIRECTORY", "O_NOFOLLOW", "copy_file_range", "fork", "forkpty", "register_at_fork", "getuid", "fchmod"],
        signal: ["SIGHUP", "SIGKILL", "SIGUSR1", "pthread_kill", "pthread_sigmask"],
        socket: ["AF_UNIX"],
    }.items():
        for name in names:
            delattr(module, name)

    def opening(path, *args, open=os.open, **options):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *args, **options)

    moving = os.replace

    def opened():
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # another thread has closed it meanwhile
                yield os.readlink(f"/proc/self/fd/{number}")

    def replacing(source, target, *args, **options):
        source = os.path.realpath(source)
        if source in opened():
            raise PermissionError(13, "The process cannot access the file because it is being used", source)
        return moving(source, target, *args, **options)

    os.open, os.replace = opening, replacing
    warnings.simplefilter("ignore")  # filelock has a way of its own on Windows; on other systems without fcntl it warns
    """


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_files_are_pulled_without_posix(lab: Lab, tmp_path: Path, buckets: Buckets) -> None:
    stores = Stores(lab, tmp_path, buckets, "file", "file")
    table = recordings(lab)
    fill(lab, table, tmp_path)
    lab.grant(table)
    code = f"""{WITHOUT_POSIX}
    import datajoint as dj
    import link.cli
    from link import LinkError, link
    from link.demo import demo
    dj.config.stores = {stores.settings}
    @link(*{scripts.names(lab)}, use_tls=False, stores={{"theirs": "ours"}})
    class Recording: pass
    assert Recording.source.pull(transfers=4).pulled == 4
    assert Recording.source.verify(files=True)
    (Recording & "recording = 1").delete(prompt=False)
    assert Recording.source.pull().pulled == 1
    try:
        demo()
    except LinkError as error:
        print(error)
    """
    ran = scripts.run(lab, code, tmp_path, linked=False)
    assert ran.returncode == 0, ran.stderr
    assert "WSL" in ran.stdout.splitlines()[-1]
    Recording = linked(lab, table, stores={"theirs": "ours"})
    assert fetched(Recording) == fetched(table)
    assert fetched(Recording.Channel) == fetched(table.Channel)
    assert not list((tmp_path / "ours" / ".datajoint-link").iterdir())
    assert not collected(lab.local, lab.local_schema, "ours")["hash_paths_orphaned"]
