"""What all tests share: hypothesis profiles, and a seed that is printed and can be repeated.

``default`` draws the same examples every time, so that a change is judged by what it changes;
``deep`` (``make test-deep``) draws many more from a fresh seed. Either way the header names the
seed, ``--hypothesis-seed=N`` repeats it, and a failure prints a ``@reproduce_failure`` blob.
"""

from __future__ import annotations

import os
import random

import hypothesis
import pytest

DEFAULT_SEED = 20_240_101

hypothesis.settings.register_profile(
    "default", max_examples=100, deadline=None, print_blob=True, database=None
)
hypothesis.settings.register_profile(
    "deep", parent=hypothesis.settings.get_profile("default"), max_examples=2_000
)


def hypothesis_profile() -> str:
    return os.environ.get("HYPOTHESIS_PROFILE", "default")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose profile and seed before hypothesis reads its options; workers inherit both."""
    profile = hypothesis_profile()
    if profile not in {"default", "deep"}:
        raise pytest.UsageError(f"HYPOTHESIS_PROFILE={profile}: must be default or deep")
    hypothesis.settings.load_profile(profile)
    if config.option.hypothesis_seed is None:
        fresh = random.SystemRandom().randrange(2**32) if profile == "deep" else DEFAULT_SEED
        config.option.hypothesis_seed = str(fresh)


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.option.hypothesis_seed
    return f"random tests: profile {hypothesis_profile()}, repeat with --hypothesis-seed={seed}"
