import errno
import json
import math
import os
import subprocess
import sys

import pytest

from keras_actnas.core import Assignment, InputError, Journal, Measurement
from keras_actnas.core import journal as journal_module


def make(number=0, **changes):
    fields = {
        "metric": "latency",
        "unit": "ms",
        "assignment": Assignment({"stem": "relu", "größe": "leaky_relu(0.3)"}),
        "samples": (1.0 + number, 0.1 + 0.2, 1e-300),
        "reference_samples": (1.5, 2.5, 3.5),
        "model": "abc",
        "conditions": {"seed": number, "threads": 1, "nested": {"a": [1, None]}},
        "device": {"name": "line\nbreak \u2028 \u0085"},
        "time": f"2030-01-01T00:00:0{number}.000+00:00",
    }
    return Measurement(**{**fields, **changes})


def write(path, measurements):
    journal = Journal(path)
    for measurement in measurements:
        journal.append(measurement)
    journal.close()


class TestMeasurement:
    def test_round_trip(self):
        measurement = make(purpose="verify")
        assert Measurement.from_json(json.loads(json.dumps(measurement.to_json()))) == measurement

    def test_time_is_utc_now(self):
        measurement = Measurement("latency", "ms", Assignment({"a": "relu"}), (1.0,))
        assert measurement.time.endswith("+00:00")
        assert measurement.purpose == "design"


class TestFile:
    def test_nothing_is_made_by_reading(self, tmp_path):
        assert len(Journal(tmp_path / "none.jsonl")) == 0
        assert list(tmp_path.iterdir()) == []

    def test_round_trip_one_line_each(self, tmp_path):
        path = tmp_path / "journal.jsonl"
        written = [make(number) for number in range(3)]
        write(path, written)
        assert list(Journal(path)) == written
        assert len(Journal(path)) == 3
        assert path.read_bytes().count(b"\n") == 3

    def test_unknown_samples_survive(self, tmp_path):
        write(tmp_path / "a", [make(samples=(math.nan, 1.0))])
        samples = Journal(tmp_path / "a").measurements[0].samples
        assert math.isnan(samples[0])
        assert samples[1] == 1.0

    def test_a_second_run_continues(self, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0)])
        before = path.read_bytes()
        write(path, [make(1)])
        assert path.read_bytes().startswith(before)
        assert list(Journal(path)) == [make(0), make(1)]

    def test_a_line_is_on_the_disk_when_append_returns(self, tmp_path, monkeypatch):
        synced = []
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), fsync(handle))[1])
        journal = Journal(tmp_path / "a")
        for number in range(2):
            journal.append(make(number))
            assert synced[-1] == (tmp_path / "a").stat().st_size
            assert list(Journal(tmp_path / "a")) == journal.measurements
        journal.close()
        assert len(synced) == 2

    def test_select(self, tmp_path):
        measurements = [make(0), make(1, metric="nwot"), make(2, purpose="verify"), make(3)]
        write(tmp_path / "a", measurements)
        journal = Journal(tmp_path / "a")
        assert journal.select("latency") == [measurements[0], measurements[2], measurements[3]]
        assert journal.select("latency", "design") == [measurements[0], measurements[3]]
        assert journal.select("latency", "verify") == [measurements[2]]
        assert journal.select("memory") == []


class TestKilled:
    def test_cut_off_at_every_byte_of_the_last_line(self, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0), make(1)])
        whole = path.read_bytes()
        start = whole.index(b"\n") + 1
        assert len(whole) - start > 200
        for end in range(start, len(whole)):
            path.write_bytes(whole[:end])
            journal = Journal(path)
            assert journal.measurements == [make(0)]
            # Reading alone repairs nothing: a line may be on its way.
            assert path.read_bytes() == whole[:end]
            journal.append(make(2))
            journal.close()
            assert list(Journal(path)) == [make(0), make(2)]
            assert path.read_bytes().startswith(whole[:start])

    def test_cut_off_in_the_only_line(self, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0)])
        path.write_bytes(path.read_bytes()[:-1])
        write(path, [make(1)])
        assert list(Journal(path)) == [make(1)]

    def test_zeros_where_the_last_line_should_be(self, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0)])
        path.write_bytes(path.read_bytes() + b"\0" * 512)
        write(path, [make(1)])
        assert list(Journal(path)) == [make(0), make(1)]

    def test_killed_process_loses_nothing_it_has_appended(self, tmp_path):
        code = (
            "import os, signal, sys\n"
            "from keras_actnas.core import Assignment, Journal, Measurement\n"
            "journal = Journal(sys.argv[1])\n"
            "for number in range(5):\n"
            "    journal.append(Measurement('latency', 'ms', Assignment({'a': 'relu'}), (float(number),)))\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        result = run_python(code, tmp_path / "a")
        assert result.wait() != 0
        result.communicate()
        assert [item.samples for item in Journal(tmp_path / "a")] == [(float(number),) for number in range(5)]


class TestDamage:
    @pytest.mark.parametrize(
        "line", [b"{", b"null", b"[]", b'{"metric": "latency"}', b'{"a": 1}', b"\xff\xfe", b'"text"', b""]
    )
    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_a_whole_line_that_cannot_be_read_is_an_error(self, line, position, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0), make(1)])
        lines = path.read_bytes().splitlines(keepends=True)
        lines.insert(position, line + b"\n")
        path.write_bytes(b"".join(lines))
        with pytest.raises(InputError, match=rf"Expected a measurement a line. Received: line {position + 1} of .*a "):
            Journal(path)
        assert path.read_bytes() == b"".join(lines)

    def test_unknown_activation_in_a_line(self, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0), make(1)])
        path.write_bytes(path.read_bytes().replace(b'"relu"', b'"rellu"', 1))
        with pytest.raises(InputError, match="line 1 of .*Received: 'rellu'"):
            Journal(path)

    def test_a_folder_is_no_journal(self, tmp_path):
        with pytest.raises(InputError, match="Expected a journal that can be read. Received: .*directory"):
            Journal(tmp_path)

    def test_place_that_cannot_be_written(self, tmp_path):
        journal = Journal(tmp_path / "none" / "a")
        with pytest.raises(InputError, match="Expected a journal that can be written.*No such file or directory"):
            journal.append(make())
        assert len(journal) == 0

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
    def test_read_only_file(self, tmp_path):
        path = tmp_path / "a"
        write(path, [make(0)])
        path.chmod(0o400)
        with pytest.raises(InputError, match="Permission denied.*The 1 measurements in it are safe"):
            Journal(path).append(make(1))


class TestFullDisk:
    class Disk:
        """A file that takes only so many bytes more."""

        def __init__(self, file, room):
            self.file, self.room = file, room

        def write(self, data):
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            part = data[: self.room]
            self.room -= len(part)
            return self.file.write(part)

        def __getattr__(self, name):
            return getattr(self.file, name)

    @pytest.mark.parametrize("room", [0, 1, 100])
    def test_no_part_of_a_line_stays(self, room, tmp_path):
        path = tmp_path / "a"
        journal = Journal(path)
        journal.append(make(0))
        before = path.read_bytes()
        journal._file = self.Disk(journal._file, room)
        with pytest.raises(InputError) as caught:
            journal.append(make(1))
        assert str(caught.value) == (
            f"Expected a journal that can be written. Received: {path} (No space left on device). "
            "The 1 measurements in it are safe."
        )
        assert path.read_bytes() == before
        assert len(journal) == 1
        journal._file.room = 10**6
        journal.append(make(2))
        journal.close()
        assert list(Journal(path)) == [make(0), make(2)]


def run_python(code, path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(journal_module.fcntl is None, reason="no advisory locks on this system")
class TestTwoWriters:
    code = (
        "import sys\n"
        "from keras_actnas.core import Assignment, Journal, Measurement\n"
        "journal = Journal(sys.argv[1])\n"
        "journal.append(Measurement('latency', 'ms', Assignment({'a': 'relu'}), (1.0,)))\n"
        "print('written', flush=True)\n"
        "sys.stdin.readline()\n"
        "journal.close()\n"
        "print('closed', flush=True)\n"
        "sys.stdin.readline()\n"
    )

    def test_the_second_gets_an_error_until_the_first_is_done(self, tmp_path):
        path = tmp_path / "a"
        other = run_python(self.code, path)
        try:
            assert other.stdout.readline() == "written\n"
            before = path.read_bytes()
            reader = Journal(path)
            assert len(reader) == 1
            with pytest.raises(InputError) as caught:
                reader.append(make())
            assert str(caught.value) == f"Expected a journal of one process. Received: {path}, which another writes."
            assert path.read_bytes() == before
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == "closed\n"
            reader.append(make())
            reader.close()
            assert len(Journal(path)) == 2
        finally:
            other.communicate("\n")

    def test_in_one_process_too(self, tmp_path):
        first, second = Journal(tmp_path / "a"), Journal(tmp_path / "a")
        first.append(make(0))
        with pytest.raises(InputError, match="which another writes"):
            second.append(make(1))
        first.close()
        assert list(Journal(tmp_path / "a")) == [make(0)]

    def test_a_file_that_changed_since_it_was_read(self, tmp_path):
        stale = Journal(tmp_path / "a")
        write(tmp_path / "a", [make(0)])
        with pytest.raises(InputError, match="which changed since it was read"):
            stale.append(make(1))
        # The refusal gives the file back.
        write(tmp_path / "a", [make(2)])
        assert list(Journal(tmp_path / "a")) == [make(0), make(2)]

    def test_closing_gives_the_file_back_and_appending_takes_it_again(self, tmp_path):
        journal = Journal(tmp_path / "a")
        journal.append(make(0))
        journal.close()
        journal.close()
        journal.append(make(1))
        journal.close()
        assert list(Journal(tmp_path / "a")) == [make(0), make(1)]
