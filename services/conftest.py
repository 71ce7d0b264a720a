"""What holds in every test; there is no conftest at the root, which would hide those of folders."""

from tests.every_test import nothing_left_open, pytest_collection_finish

__all__ = ["nothing_left_open", "pytest_collection_finish"]
