"""What a setting says of another system: what is taken, what is refused, and with which sentence."""

from pathlib import Path

import pytest

from worker.errors import SetupRefused
from worker.settings import get_settings


def test_without_servers_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLR_HOME", str(tmp_path))
    with pytest.raises(SetupRefused) as refusal:
        get_settings().require_redis_url()
    assert "DLR_REDIS_URL" in refusal.value.reason
    assert "dlr up" in refusal.value.reason


POSTGRESQL = ("DATABASE_URL", "DATABASE_OWNER_URL", "READER_URL", "WEB_DATABASE_URL", "SHADOW_DATABASE_URL")
NO_POSTGRESQL = (
    "mysql://u:hunter2@h/d", "postgres://u:hunter2@h/d", "postgresql+asyncpg://u:hunter2@h/d", "sqlite:///d", "oracle://h",
    "postgresql://h:99999/d", "redis://h/0", "postgresql://h:port/d", "h",
)  # fmt: skip
NO_REDIS = (
    "redis+cluster://u:hunter2@h:6379/0", "amqp://u:hunter2@h", "memory://", "redis+socket:///tmp/redis", "unix:///tmp/redis",
    "redis-cluster://h", "http://h", "postgresql://h/d", "redis://h:70000/0", "redis://h/zero", "redis:///0", "redis://",
    "sqs://", "REDIS", "redis://h:6379/-1", "redis://a:1;redis://b:2",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        *((name, value, "postgresql://") for name in POSTGRESQL for value in NO_POSTGRESQL),
        *(("REDIS_URL", value, "rediss://") for value in NO_REDIS),
        *(("TRACES_URL", value, "https://host:port") for value in ("grpc://h:4317", "h:4318", "http://", "http://h:x")),
        *(("SEND_WEBHOOK_URL", value, "http") for value in ("ftp://h/x", "h", "mailto:a@b")),
        *(("WEB_VIEWER_URL", f"{scheme}://h/{{accession_number}}", "https://") for scheme in ("ftp", "javascript", "")),
        *(
            ("WEB_VIEWER_URL", f"https://{rest}", "{study_instance_uid}")
            for rest in (
                "h/view",
                "h/{patient}",
                "h/{accession_number}/{}",
                "h/{accession_number",
                "h/{accession_number!r}",
                "h/{0}",
                "h/ {accession_number}",
                'h/"{accession_number}',
            )
        ),
        ("WEB_VIEWER_URL", "https://{accession_number}.h/", "same server"),
        *((name, "AET@h:99999", "65535") for name in ("SEND_PACS", "SEND_UPS")),
        *((name, "AET@h:0", "65535") for name in ("SEND_PACS", "SEND_UPS")),
    ],
)
def test_an_address_of_another_kind_is_refused_with_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(f"DLR_{name}", value)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.code == "setting_invalid"
    assert refused.value.reason.startswith(f"DLR_{name}: ")
    assert accepted in refused.value.reason
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_VIEWER_URL", "https://pacs:8443/view?study={study_instance_uid}&an={accession_number}#x"),
        ("DATABASE_URL", "postgresql+psycopg2://u@h:5432/d"),
        ("DATABASE_URL", "postgresql://u@/d?host=/var/run/postgresql"),
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "rediss://u:p@h:6380/15"),
        ("REDIS_URL", "redis://[::1]:6379/0"),
        ("REDIS_URL", "redis://h/0?health_check_interval=10&client_name=dlr"),
        (
            "DATABASE_URL",
            "postgresql://u@/d?host=a:5432&host=b:5432&target_session_attrs=read-write&application_name=dlr",
        ),
        ("TRACES_URL", "http://collector:4318"),
        ("SEND_PACS", "PACS@pacs.hospital:11112"),
    ],
)
def test_an_address_of_the_right_kind_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DLR_{name}", value)
    assert getattr(get_settings(), name.lower()) is not None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "DLR_DICOMWEB_SERVERS: is not JSON"),
        ('{"pacs": {}}', "DLR_DICOMWEB_SERVERS: pacs: url"),
        ('{"pacs": {"url": "https://u:hunter2@pacs"}}', "DLR_DICOMWEB_SERVERS: pacs"),
        ('{"pacs": {"url": "https://pacs", "token": "hunter2", "user": "u", "password": "p"}}', "give a token"),
        ('{"pacs": {"url": "ftp://pacs"}}', "DLR_DICOMWEB_SERVERS: pacs: url"),
    ],
)
def test_a_wrong_dicomweb_server_is_named_and_its_secrets_are_not(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("DLR_DICOMWEB_SERVERS", value)
    get_settings.cache_clear()
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert said in refused.value.reason
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize(
    ("name", "url"),
    [
        *((name, "postgresql://u:hunter2@h/d?sslmod=require") for name in POSTGRESQL),
        ("DATABASE_URL", "postgresql://u:hunter2@h/d?charset=utf8"),
        ("REDIS_URL", "redis://u:hunter2@h/0?foo=bar"),
        ("REDIS_URL", "redis://h/0?socket_timeout=soon"),
        ("REDIS_URL", "redis://h/0?ssl_ca_certs=/ca"),
        ("REDIS_URL", "rediss://h/0?ssl_check_hostnam=true"),
    ],
)
def test_a_parameter_of_an_address_that_no_driver_knows_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(f"DLR_{name}", url)
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.reason.startswith(f"DLR_{name}: has a parameter")
    assert "hunter2" not in refused.value.reason


@pytest.mark.parametrize(
    ("name", "fine", "refused"),
    [
        ("SEND_AE_TITLE", ["DLR", "A B-1_", "x" * 16], ["", "x" * 17, "A\\B", "   ", "PÄCS", "A\tB"]),
        ("RECEIVE_CALLERS", ["US1, PACS", ",,"], ["US1,ÄÖ", "x" * 17, "A\\B,PACS"]),
        ("RECEIVE_AE_TITLE", ["DLR"], ["x" * 17, "A\\B", " ", "超声"]),
        ("SEND_RETRIEVE_AE_TITLE", ["PACS"], ["x" * 17, "A\\B", "\x7f"]),
        ("SEND_WORKLIST_LABEL", ["乳腺超声", "x" * 64], ["x" * 65, "A\\B", "A\nB"]),
        ("SEND_PERFORMER", ["1^99X^Röntgen^Klinik"], ["1^99X^A=B^C", "1^99X^A\x07^C", "x" * 17 + "^99X^A^B", "1^2^3"]),
        ("SEND_PACS", ["PACS@host:104", "A B@10.0.0.1:11112"], ["@host:1", " @host:1", "PÄCS@host:1", "A\\B@host:1"]),
    ],
)
def test_what_goes_into_a_dicom_attribute_is_refused_at_the_start_where_it_does_not_fit(
    name: str, fine: list[str], refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in fine:
        monkeypatch.setenv(f"DLR_{name}", text)
        get_settings.cache_clear()
        assert getattr(get_settings(), name.lower()) == text
    for text in filter(None, refused):
        monkeypatch.setenv(f"DLR_{name}", text)
        get_settings.cache_clear()
        with pytest.raises(SetupRefused) as why:
            get_settings()
        assert f"DLR_{name}" in why.value.reason
