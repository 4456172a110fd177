"""Random input for every reader of strangers' text and files; ``benchmarks/fuzz.py`` does the same for longer."""

import pytest
from fuzzed import READERS
from hypothesis import HealthCheck, given, settings

EXAMPLES = {"formula": 600, "preset": 200, "sums": 150, "counts": 150, "fit": 25}


@pytest.mark.parametrize("name", READERS)
def test_any_input_is_read_or_refused(name):
    reader = READERS[name]

    @settings(max_examples=EXAMPLES[name], deadline=None, suppress_health_check=list(HealthCheck))
    @given(reader.inputs)
    def held(value):
        assert reader.check(value) in ("read", "refused")

    held()
