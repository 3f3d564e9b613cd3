"""The state of a board, read from a tree of files like those of a Raspberry Pi 4 and of a PC."""

import pytest

from keras_actnas.tflite_bench.board import BoardState, disturbance, read_board_state

PI = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1800000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1800000\n",
    "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "99000\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "61345\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0x50005\n",
}


@pytest.fixture
def tree(tmp_path):
    """Writes files below a folder that stands for the root."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_raspberry_pi(tree):
    state = read_board_state(tree(PI))
    assert state == BoardState("ondemand, performance", 1800.0, 1800.0, pytest.approx(61.345), 0x50005, None)
    assert state.slowed == "under-voltage, throttled"
    assert state.to_json()["firmware_bits"] == 0x50005
    assert state.hot
    assert not BoardState(firmware_bits=0x50001).hot  # A weak power supply does not cool off.


def test_a_pc_counts_its_throttling(tree):
    folder = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    zones = {"sys/class/thermal/thermal_zone0/type": "acpitz", "sys/class/thermal/thermal_zone0/temp": "40000"}
    state = read_board_state(tree({folder.format(0): "3", folder.format(1): "4", **zones}))
    assert state == BoardState(celsius=40.0, throttle_count=7)
    assert state.to_json() == {"celsius": 40.0, "throttle_count": 7}


def test_a_system_that_tells_nothing(tree):
    assert read_board_state(tree({})) == BoardState()
    damaged = {
        "sys/devices/platform/soc/soc:firmware/get_throttled": "?",
        "sys/class/thermal/thermal_zone0/temp": "hot",
    }
    assert read_board_state(tree(damaged)) == BoardState()


def test_this_machine_can_be_read():
    assert isinstance(read_board_state().to_json(), dict)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (BoardState(), BoardState(), ""),
        (BoardState(firmware_bits=0), BoardState(firmware_bits=0), ""),
        # What happened before the measurement is over: its bits since the start stay set.
        (BoardState(firmware_bits=0x50000), BoardState(firmware_bits=0x50000), ""),
        (BoardState(firmware_bits=0x10000), BoardState(firmware_bits=0x50000), "throttled"),
        (BoardState(firmware_bits=0), BoardState(firmware_bits=0x80008), "soft temperature limit"),
        (BoardState(firmware_bits=1), BoardState(firmware_bits=0x10000), "under-voltage"),
        (BoardState(firmware_bits=0), BoardState(firmware_bits=0x20000), "frequency capped"),
        (BoardState(throttle_count=4), BoardState(throttle_count=4), ""),
        (BoardState(throttle_count=4), BoardState(throttle_count=9), "throttled"),
        (BoardState(), BoardState(throttle_count=0), ""),
    ],
)
def test_what_disturbs_a_measurement(before, after, expected):
    assert disturbance(before, after) == expected
