"""diffusers logs errors only, and only for as long as it is asked to."""

import pytest

from trainer.checkpoints import quiet


def test_the_log_level_is_restored() -> None:
    """Inside the context only errors are logged; its end and an exception restore the caller's level."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        with quiet.diffusers():
            assert logging.get_verbosity() == logging.ERROR
        assert logging.get_verbosity() == logging.INFO
        with pytest.raises(KeyError), quiet.diffusers():
            raise KeyError
        assert logging.get_verbosity() == logging.INFO
    finally:
        logging.set_verbosity(before)
