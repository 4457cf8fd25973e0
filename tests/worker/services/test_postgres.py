import psycopg2

from tests.conftest import Database


def test_x(database: Database, redis_url: str) -> None:
    with psycopg2.connect(database.reader_url) as c:
        c.cursor().execute("select * from worklist")
def test_y(empty_database: Database, redis_url: str) -> None:
    with psycopg2.connect(empty_database.owner_url) as c:
        c.cursor().execute("create table x()")
