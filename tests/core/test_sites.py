import dataclasses

import pytest

from keras_actnas.core import Site, layer_name, site_name


@pytest.mark.parametrize(("shape", "elements"), [((4, 5, 6), 120), ((None, None, 8), 8), ((7,), 7), ((), 1)])
def test_elements(shape, elements):
    assert Site("a", "relu", shape).elements == elements


def test_is_a_value():
    site = Site("a", "relu", (1, 2))
    assert site == Site("a", "relu", (1, 2))
    assert len({site, Site("a", "relu", (1, 2)), Site("b", "relu", (1, 2))}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        site.name = "b"


@pytest.mark.parametrize(
    ("site", "layer"),
    [
        ("model.2.cv1.act", "model-2-cv1-act"),
        ("model.22.cv2.0.1.act", "model-22-cv2-0-1-act"),
        ("model.2.m.0.cv_1.act", "model-2-m-0-cv_1-act"),
        ("model.0", "model-0"),
        ("conv2d_1", "conv2d_1"),
        ("stage-1-act", "stage-1-act"),
        ("block.act", "block.act"),
        ("mymodel.2.act", "mymodel.2.act"),
        ("model.x.act", "model.x.act"),
    ],
)
def test_names_lead_there_and_back(site, layer):
    assert layer_name(site) == layer
    assert site_name(layer) == site
