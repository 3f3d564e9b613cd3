"""A network in parts gives what the whole gives, in the order of a design, and after a run that was interrupted."""

import numpy as np
import pytest

from keras_actnas.core import CANDIDATES
from keras_actnas.search.designs import mixtures, single_swaps
from keras_actnas.search.proxies.segments import SegmentedNetwork
from keras_actnas.search.proxies.tasks import in_order
from keras_actnas.search.switchable import SwitchableNetwork


def run(segments, network, images, row):
    """Returns the inputs of the sites' calls, of all parts, after switching the network."""
    network.assign(row)
    return [np.asarray(tensor) for part in segments.run(images, list(row.values()), None) for tensor in part]


@pytest.fixture(scope="module", params=[False, True], ids=["inference", "batch"])
def network(model, images, request):
    return SwitchableNetwork(model, CANDIDATES, len(images), batch_statistics=request.param)


@pytest.fixture(scope="module")
def segments(network):
    return SegmentedNetwork(network, list)


@pytest.fixture(scope="module")
def rows(network):
    swaps = single_swaps(network.reference, CANDIDATES)[::4]  # Neighbours begin alike, which mixtures hardly do.
    return in_order([*swaps, *mixtures(network.reference, CANDIDATES, 8)], network.reference)


def test_parts_give_what_the_whole_gives(network, segments, rows, images):
    assert len(segments.functions) > 4
    for row in rows:
        found = run(segments, network, images, row)
        whole = network.inputs_of_sites(images)
        assert len(found) == len(whole) == 9
        for own, expected in zip(found, whole, strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_a_run_goes_on_rightly_from_wherever_one_was_interrupted(network, segments, rows, images, monkeypatch):
    def interrupt(tensors):
        raise KeyboardInterrupt

    first, second = rows[0], rows[-1]
    expected = run(segments, network, images, first)
    for number in range(len(segments.functions)):
        with monkeypatch.context() as patch:
            parts = segments.functions
            patch.setattr(segments, "functions", [*parts[:number], interrupt, *parts[number + 1 :]])
            with pytest.raises(KeyboardInterrupt):
                run(segments, network, images[::-1], second)  # Other images: computed from the first part on.
        for own, other in zip(run(segments, network, images, first), expected, strict=True):
            np.testing.assert_array_equal(own, other)
