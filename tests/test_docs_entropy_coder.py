"""docs/entropy-coder.md and its example: integers of one's own, without JAX."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_architecture import BLOCKED

from codax.entropy.coder import REACH
from codax.errors import ConfigError, FormatError
from codax.files.scripts import run_file

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "integers.py"
PAGE = (EXAMPLE.parents[1] / "entropy-coder.md").read_text()


@pytest.fixture(scope="module")
def example():
    return run_file(EXAMPLE, "example")


@pytest.fixture(scope="module")
def tables(example):
    return example.load(example.learn(example.sensor(0, 20_000)))


def test_the_page_shows_what_the_example_prints_without_jax():
    script = (
        f"{BLOCKED}\nimport runpy; runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(EXAMPLE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = [block for block in blocks("") if block.startswith("values")]
    assert printed == [done.stdout]


def test_the_code_of_the_page_runs():
    found = blocks("python")
    assert len(found) == 2
    for block in found:
        exec(compile(block, "docs/entropy-coder.md", "exec"), {})


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 501])
def test_values_come_back(example, tables, count):
    values = example.sensor(2, count)
    values[: count // 2] += 20_000  # far beyond what the tables hold
    assert np.array_equal(
        example.decode(example.encode(values, tables), tables), values
    )


def test_the_cost_is_that_of_the_file_and_contexts_pay(example, tables):
    values = example.sensor(3, 20_000)
    paid = sum(example.bits(values, tables))
    words = 8 * (len(example.encode(values, tables)) - 4)
    assert 0 <= words - paid <= 64
    # Odd samples by one table of all contexts, instead of one for each.
    (symbols, index), own = example.steps(values)[1], tables[1]
    one = example.count_table(np.bincount(symbols + 1000, minlength=2001))
    single = example.TableSet([one], [-1000]).bits(symbols, 0 * index).sum()
    assert own.bits(symbols, index).sum() < 0.85 * single


def test_damage_and_what_is_too_far_are_refused(example, tables):
    data = example.encode(example.sensor(4, 1000), tables)
    with pytest.raises(FormatError, match="bytes, expected a multiple of 4"):
        example.decode(data[:-1], tables)
    with pytest.raises(FormatError, match="samples in"):
        example.decode(b"\xff" * 8, tables)
    with pytest.raises(ConfigError, match=f"at most {REACH} can be coded"):
        example.encode(np.array([40_000]), tables)
