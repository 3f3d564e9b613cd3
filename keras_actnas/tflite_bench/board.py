"""The state of the board while it measures: clock, temperature, throttling. What a system does not tell is None."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Bits of the Raspberry Pi firmware's `get_throttled`: what is so now; 16 bits higher, what was so since it started.
_FIRMWARE_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START = 16
_HEAT = 1 << 2 | 1 << 3

_CPUS = "sys/devices/system/cpu"
_FIRMWARE_FILES = "sys/devices/platform/soc*/*firmware/get_throttled"


@dataclasses.dataclass(frozen=True)
class BoardState:
    """What a board says of itself at one moment.

    Attributes:
      governor: Frequency governors of the cores, such as "performance".
      mhz: Clock of the fastest core, MHz.
      max_mhz: Highest clock that it may have, MHz.
      celsius: Temperature of the processor, degrees Celsius.
      firmware_bits: Throttling bits of a Raspberry Pi's firmware.
      throttle_count: How often the cores were slowed down because of heat since the start (x86).
    """

    governor: str | None = None
    mhz: float | None = None
    max_mhz: float | None = None
    celsius: float | None = None
    firmware_bits: int | None = None
    throttle_count: int | None = None

    @property
    def slowed(self) -> str:
        """What slows the board down right now; empty for nothing that it tells of."""
        return _named_bits(self.firmware_bits or 0)

    @property
    def hot(self) -> bool:
        """Whether the firmware slows the board down because of heat, which passes; a weak power supply does not."""
        return bool((self.firmware_bits or 0) & _HEAT)

    def to_json(self) -> dict[str, Any]:
        """Returns what is known, as values that JSON can hold."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def read_board_state(root: Path = Path("/")) -> BoardState:
    """Returns the state of this board.

    Args:
      root: Where `sys` is mounted; another folder than the root for tests.
    """
    clock = "cpu[0-9]*/cpufreq"
    governors = sorted(set(_texts(root, f"{_CPUS}/{clock}/scaling_governor")))
    counts = _numbers(root, f"{_CPUS}/cpu[0-9]*/thermal_throttle/core_throttle_count")
    return BoardState(
        governor=", ".join(governors) or None,
        mhz=_largest(root, f"{_CPUS}/{clock}/scaling_cur_freq", 1e-3),
        max_mhz=_largest(root, f"{_CPUS}/{clock}/scaling_max_freq", 1e-3),
        celsius=_processor_celsius(root),
        firmware_bits=_firmware_bits(root),
        throttle_count=int(sum(counts)) if counts else None,
    )


def disturbance(before: BoardState, after: BoardState) -> str:
    """Returns what slowed the board down between two moments, or at one of them; empty for nothing that is known."""
    first, last = before.firmware_bits or 0, after.firmware_bits or 0
    found = _named_bits(first | last | (last & ~first) >> _SINCE_START)
    if (after.throttle_count or 0) > (before.throttle_count or 0):
        found = f"{found}, throttled" if found else "throttled"
    return found


def _named_bits(bits: int) -> str:
    return ", ".join(name for bit, name in _FIRMWARE_BITS.items() if bits >> bit & 1)


def _processor_celsius(root: Path) -> float | None:
    """Returns the temperature of the hottest zone that is the processor's, or of the first zone."""
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*"))
    own = [zone for zone in zones if any(word in " ".join(_texts(zone, "type")) for word in ("cpu", "soc", "x86_pkg"))]
    celsius = [value for zone in own or zones[:1] for value in _numbers(zone, "temp")]
    return max(celsius) / 1000 if celsius else None


def _firmware_bits(root: Path) -> int | None:
    texts = list(_texts(root, _FIRMWARE_FILES))
    if not texts and root == Path("/") and shutil.which("vcgencmd"):  # Where the kernel does not pass it on.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["vcgencmd", "get_throttled"]
            texts = [subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()]
    with contextlib.suppress(ValueError, IndexError):
        return int(texts[0].rpartition("=")[2].removeprefix("0x"), 16)
    return None


def _texts(root: Path, pattern: str) -> Iterator[str]:
    for path in sorted(root.glob(pattern)):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            yield path.read_text(encoding="utf-8").strip()


def _numbers(root: Path, pattern: str) -> list[float]:
    numbers = []
    for text in _texts(root, pattern):
        with contextlib.suppress(ValueError):
            numbers.append(float(text))
    return numbers


def _largest(root: Path, pattern: str, scale: float) -> float | None:
    numbers = _numbers(root, pattern)
    return max(numbers) * scale if numbers else None
