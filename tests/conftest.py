import signal

import keras
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks tests that compile a training step as slow on torch, whose compiler takes a minute and gives warnings."""
    if keras.backend.backend() != "torch":
        return
    for item in items:
        if item.get_closest_marker("compiles"):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"))


# What a shell starts in the background ignores SIGINT, and so do its children. Tests interrupt both.
signal.signal(signal.SIGINT, signal.default_int_handler)
