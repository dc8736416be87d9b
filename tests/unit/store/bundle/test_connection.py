import pytest

from proxy.store.bundle.importing import import_bundle
from tests.unit.store.bundle.making import export


def test_a_database_that_is_none_is_named(source, tmp_path):
    made = export(source)
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(Exception, match=r"broken.db cannot be used \(file is not a database\)"):
        import_bundle(tmp_path / "broken.db", made)
