"""A hospital's rows in a CSV file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cipherward_client.cli.faults import TableMalformed
from cipherward_client.cli.study_rows import PART_ROWS, TableFile


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode("latin-1"))
    return path


def test_an_empty_field_of_a_table_is_missing(tmp_path: Path) -> None:
    table = TableFile.of(written(tmp_path, "age, bmi\n59,32.1\n48,\n"))
    assert table.variables == ("age", "bmi")
    (part,) = table.parts()
    assert part.values[0].tolist() == [59.0, 32.1]
    assert math.isnan(part.values[1][1])
    assert part.references == b""


def test_a_unit_stands_behind_a_name(tmp_path: Path) -> None:
    table = TableFile.of(written(tmp_path, "\xef\xbb\xbfage [a], bmi [kg/m2]\n59,32.1\n"))
    assert table.variables == ("age [a]", "bmi [kg/m2]")


def test_a_first_column_of_references_names_the_rows(tmp_path: Path) -> None:
    text = f"reference,age\n{'0a' * 16},59\n{'0b' * 16},\n"
    table = TableFile.of(written(tmp_path, text))
    (part,) = table.parts()
    assert (table.variables, len(part.values)) == (("age",), 2)
    assert part.references == b"\x0a" * 16 + b"\x0b" * 16


def test_a_long_table_is_read_in_parts_and_again(tmp_path: Path) -> None:
    rows = 2 * PART_ROWS + 1
    text = "age,bmi\n" + "".join(f"{place},{place / 2}\n" for place in range(rows))
    table = TableFile.of(written(tmp_path, text))
    for _ in range(2):
        parts = list(table.parts())
        assert [len(one.values) for one in parts] == [PART_ROWS, PART_ROWS, 1]
        read = np.concatenate([one.values for one in parts])
        assert np.array_equal(read[:, 0], np.arange(rows))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "reference\n",
        "age\n",
        "age,bmi\n59\n",
        "age\nold\n",
        "age\n\xff\n",
        "\xff\n1\n",
        "reference,age\nzz,59\n",
        "reference,age\n0a0a,59\n",
    ],
)
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TableMalformed) as refused:
        list(TableFile.of(path).parts())
    assert str(path) in str(refused.value)


def test_the_line_of_a_fault_is_named(tmp_path: Path) -> None:
    table = TableFile.of(written(tmp_path, "age\n1\n2\nold\n"))
    with pytest.raises(TableMalformed, match="line 4"):
        list(table.parts())
