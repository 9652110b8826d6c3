"""What the settings may say of the database: a URL of PostgreSQL without a secret in it, shown to nobody."""

from pathlib import Path

import pytest

from exchange.errors import Malformed
from exchange.settings import Settings

URL = "postgresql://puente@db.example/puente?sslmode=verify-full"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "puente.toml"
    path.write_text(text)
    return path


def test_a_url_chooses_postgresql_and_is_not_shown(tmp_path: Path) -> None:
    text = f'database_url = "{URL}"\ndatabase_password_file = "secret"\n'
    settings = Settings.load(written(tmp_path, text))
    assert settings.database_url == URL
    assert settings.database_password_file == tmp_path / "secret"
    assert "db.example" not in repr(settings)


def test_without_one_it_is_sqlite(tmp_path: Path) -> None:
    settings = Settings.load(written(tmp_path, ""))
    assert settings.database_url == ""
    assert settings.database == tmp_path / "hub.sqlite"


@pytest.mark.parametrize("name", ["database_url", "database_read_url"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://puente:hunter2@db.example/puente",
        "postgresql://db.example/puente?user=puente&password=hunter2",
        "mysql://db.example/puente",
        "hub.sqlite",
    ],
)
def test_a_password_or_another_database_is_refused_by_name(tmp_path: Path, name: str, url: str) -> None:
    with pytest.raises(Malformed) as refused:
        Settings.load(written(tmp_path, f'{name} = "{url}"\n'))
    assert refused.value.field == name
    assert "hunter2" not in str(refused.value) + refused.value.text.es
