"""What a bundle does on the device: measures what its plan asks for, into a journal, and continues where it was.

A bundle is one file; the device needs Python 3.10 or later, NumPy, and a TFLite runtime (ai-edge-litert or
tflite-runtime). Interrupt it, or cut the power: the same command continues.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from keras_actnas.core.assignment import Assignment
from keras_actnas.core.errors import InputError
from keras_actnas.core.journal import Journal, Measurement
from keras_actnas.core.stats import paired_ratio
from keras_actnas.devices.bundle_files import NETWORK, PLAN, packed
from keras_actnas.devices.device import LATENCY, Request
from keras_actnas.devices.following import follow, stop
from keras_actnas.devices.host import HostDevice
from keras_actnas.devices.plan import DEFAULT_RUNS, Plan, measuring_seconds
from keras_actnas.devices.recording import check_journal, record, recorded, unsupported
from keras_actnas.export.network import TFLiteNetwork
from keras_actnas.tflite_bench.runtime import RUNTIMES


def main(arguments: list[str] | None = None, bundle: str = sys.argv[0]) -> int:
    """Runs the bundle; returns the exit status: 0, 2 for what cannot be used, 130 when interrupted.

    Args:
      arguments: The command line; that of the process when None.
      bundle: The file that is run, which gives the journal its name.
    """
    parser = _parser(bundle)
    options = parser.parse_args(arguments)
    out = Path(options.out)
    try:
        if options.stop:
            stop(out)
            return 0
        plan, network = _load(options)
        if options.follow and plan is not None:
            files = ["--plan", options.plan, "--network", options.network] if options.plan else []
            follow([sys.executable, bundle, "--out", options.out, *files], out)
            return 0
        device = _device(plan, options.runtime)
        with device:
            if plan is None or network is None:
                print(json.dumps({"device": device.describe(), "conditions": device.conditions}))
            else:
                _measure(device, plan, network, out, options)
        return 0
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. What was measured is kept: the same command continues.", file=sys.stderr)
        return 130


def _parser(bundle: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=Path(bundle).name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default=f"{Path(bundle).stem}.jsonl", help="journal (default: %(default)s)")
    parser.add_argument("--runs", type=_at_least_1, help="timed runs of each network, in place of the plan's")
    parser.add_argument("--minutes", type=float, help="time budget that says how many runs, in place of the plan's")
    parser.add_argument("--runtime", choices=RUNTIMES, help="default: the first of these that is installed")
    parser.add_argument("--plan", help="a plan in place of the one in the bundle")
    parser.add_argument("--network", help="a .tflite in place of the one in the bundle")
    parser.add_argument("--describe", action="store_true", help="print what this device is, as JSON, and stop")
    parser.add_argument("--follow", action="store_true", help=argparse.SUPPRESS)  # For `devices.ssh`.
    parser.add_argument("--stop", action="store_true", help=argparse.SUPPRESS)
    return parser


def _at_least_1(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, received {number}")
    return number


def _load(options: argparse.Namespace) -> tuple[Plan | None, bytes | None]:
    if options.describe:
        return None, None
    try:
        plan = Path(options.plan).read_text(encoding="utf-8") if options.plan else packed(PLAN).decode()
        network = Path(options.network).read_bytes() if options.network else packed(NETWORK)
        return Plan.loads(plan), network
    except OSError as error:
        raise InputError(f"Expected files that can be read. Received: {error.filename} ({error.strerror}).") from error


def _device(plan: Plan | None, runtime: str | None) -> HostDevice:
    if plan is None:
        return HostDevice(runtime=runtime)
    return HostDevice(plan.num_threads, plan.delegate, runtime, plan.precision)


def _measure(device: HostDevice, plan: Plan, network_file: bytes, out: Path, options: argparse.Namespace) -> None:
    network = TFLiteNetwork(network_file)
    request = plan.request
    with Journal(out) as journal:
        check_journal(device, journal, request.model)
        if options.plan is None and request.purpose == "design":
            request = _without_unsupported(device, network, request, journal)
        done = recorded(device, journal, request.purpose, request.least_runs)
        left = [assignment for assignment in request.assignments if assignment not in done]
        board = device.describe()
        print(f"{board['board'] or board['cpu'] or board['machine']}; {_conditions(device)}")
        print(
            f"{plan.name}: {len(request.assignments)} networks, {len(request.assignments) - len(left)} measured already"
        )
        if left:
            if options.runs is not None or options.minutes is not None:
                request = dataclasses.replace(request, runs=options.runs or DEFAULT_RUNS)
                plan = dataclasses.replace(plan, request=request, minutes=None if options.runs else options.minutes)
            reference_ms = device.probe(network, request.reference)
            request = dataclasses.replace(request, runs=plan.runs(reference_ms, len(left)))
            seconds = measuring_seconds(reference_ms, len(left), request.runs)
            print(
                f"{reference_ms:.1f} ms a run, {request.runs} runs of each: about {duration(seconds)} in all",
                flush=True,
            )
        made = record(device, network, request, journal, lambda items, _: _say_each(list(items), journal))
        print(_summary(out, list(made.values())))


def _without_unsupported(device: HostDevice, network: TFLiteNetwork, request: Request, journal: Journal) -> Request:
    """Tries every activation; where this board cannot run one, the reference's own takes its place in the design."""
    names = sorted({name for assignment in request.assignments for name in assignment.values()})
    refused = unsupported(device, network, names, journal, request.reference, request.model)
    for name, reason in refused.items():
        print(f"This board cannot run {name}, which is left out of the networks: {reason}")
    return dataclasses.replace(
        request,
        assignments=tuple(
            dict.fromkeys(
                one.with_swaps({site: request.reference[site] for site, name in one.items() if name in refused})
                for one in request.assignments
            )
        ),
    )


def _conditions(device: HostDevice) -> str:
    own = device.conditions
    return f"{own['runtime']} {own['runtime_version']}, {own['num_threads']} thread(s), delegate {own['delegate']}"


def _say_each(items: list[Assignment], journal: Journal) -> Iterator[Assignment]:
    """Yields what is measured; says after each what came out, and how long the rest will take."""
    start = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        left = (time.monotonic() - start) / number * (len(items) - number)
        print(f"[{number}/{len(items)}] {_outcome(journal)}, {duration(left)} left", flush=True)


def _outcome(journal: Journal) -> str:
    main = [made for made in journal if made.metric == LATENCY][-1]
    if main.failure:
        return f"failed: {main.failure[:160]}"
    ratio = paired_ratio(main.samples, main.reference_samples, main.conditions.get("sessions", 1))
    reason = main.conditions.get("disturbed")
    note = f" (disturbed: {reason}; to be measured again)" if reason else ""
    return f"{100 * ratio.ratio:.2f} +- {100 * ratio.standard_error:.2f} % of the reference{note}"


def _summary(out: Path, made: list[list[Measurement]]) -> str:
    failed = sum(bool(lines[0].failure) for lines in made)
    disturbed = sum(bool(lines[0].conditions.get("disturbed")) for lines in made)
    notes = [f"{failed} failed"] * bool(failed) + [f"{disturbed} disturbed at every try"] * bool(disturbed)
    return (
        f"{out}: {len(made)} networks measured{' (' + ', '.join(notes) + ')' if notes else ''}. Take the file back and "
        f"give it to the search: --device=journal:{out.name}"
    )


def duration(seconds: float) -> str:
    """Returns a time as a person says it.

    >>> duration(50), duration(200), duration(9000)
    ('50 s', '3 min 20 s', '2 h 30 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


if __name__ == "__main__":
    sys.exit(main())
