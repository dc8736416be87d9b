import random
import sqlite3
from contextlib import closing

import pytest
from sqlite_utils import Database

from proxy.store.samples import run_state
from proxy.store.schema import migrate
from proxy.store.statistics import Quantity, add, of_run


def test_an_average_of_many_answers_is_that_of_all_and_not_rounded_on_the_way() -> None:
    drawn = random.Random(1)
    values = [drawn.uniform(1, 4096) for _ in range(12_000)]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        for value in values:
            add(connection, ("r", "completion_tokens"), Quantity.of(value))
        told = of_run(Database(connection), "r", run_state(connection, "r").number)
    assert told["avg_completion_tokens"] == pytest.approx(sum(values) / len(values), abs=0.001)
    assert told["max_completion_tokens"] == max(values)
