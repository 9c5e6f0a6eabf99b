"""The gateway's costs beside a cost report. The reports are constructed, with the columns of the Console's export."""

from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apiproxy.models import Usage

pytestmark = pytest.mark.django_db

HEADER = "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type"
CONSTRUCTED = f"""\
{HEADER}
2026-11-01,Claude Opus 5.5,Default,gw,message,≤ 200k,input_no_cache,4.00,4.00,token
2026-11-01,Claude Opus 5.5,Default,gw,message,≤ 200k,output,2.00,2.00,token
2026-11-01,claude-haiku-4-5,Default,gw,message,≤ 200k,output,1.00,1.00,token
2026-11-01,,Default,gw,,,,0.03,0.03,web_search
2026-11-02,Claude Opus 5.5,Default,gw,message,≤ 200k,output,5.00,5.00,token
"""


def used(day: int, model: str, usd: float, **more: int) -> None:
    Usage.objects.create(
        key_id=1, key_label="k", day=date(2026, 11, day), model=model, cost_micro_usd=round(usd * 1_000_000), **more
    )


def compared(tmp_path: Path, text: str, *options: str) -> str:
    (tmp_path / "report.csv").write_text(text, encoding="utf-8")
    out = StringIO()
    try:
        call_command("comparecosts", str(tmp_path / "report.csv"), *options, stdout=out, no_color=True)
    except CommandError as error:
        return f"{out.getvalue()}FAILED: {error}"
    return out.getvalue()


def test_accept_costs_within_the_tolerance(tmp_path: Path) -> None:
    used(1, "claude-opus-5-5", 6.03, partly_unpriced=2)
    used(1, "claude-haiku-4-5-20251001", 1.00)
    used(2, "claude-opus-5-5", 4.96)
    used(3, "claude-opus-5-5", 99)

    shown = compared(tmp_path, CONSTRUCTED)

    assert "All figures agree within 1%." in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["2026-11-01", "claude-haiku-4-5-20251001", "1.0000", "1.0000", "+0.00%"] in lines
    assert ["2026-11-01", "(all)", "7.0300", "7.0300", "+0.00%", "2", "requests", "not", "fully", "priced"] in lines
    assert "2026-11-03" not in shown


def test_report_costs_beyond_the_tolerance(tmp_path: Path) -> None:
    used(1, "claude-opus-5-5", 6.03)
    used(1, "claude-haiku-4-5-20251001", 1.00)
    used(2, "claude-opus-5-5", 4.90)

    assert "FAILED: 2 figures differ by more than 1%." in compared(tmp_path, CONSTRUCTED)
    assert "All figures agree within 2.5%." in compared(tmp_path, CONSTRUCTED, "--tolerance", "2.5%")


def test_report_a_model_that_only_one_side_has(tmp_path: Path) -> None:
    used(1, "claude-opus-5-5", 7.03)
    used(2, "claude-opus-5-5", 5)

    shown = compared(tmp_path, CONSTRUCTED)

    assert "FAILED: 2 figures" in shown  # the day's sum is right, and its models are not


def test_read_the_fields_of_the_cost_report_api(tmp_path: Path) -> None:
    used(1, "claude-opus-5-5", 1.2345)

    shown = compared(tmp_path, "starting_at,model,amount,currency\n2026-11-01T00:00:00Z,claude-opus-5-5,123.45,USD\n")

    assert "All figures agree" in shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "none of the columns usage_date_utc"),
        (HEADER + "\n", "no rows"),
        ("usage_date_utc,model\n", "none of the columns list_price_usd"),
        ("usage_date_utc,model,cost_usd\nyesterday,m,1\n", "Line 2"),
        ("usage_date_utc,model,cost_usd\n2026-11-01,m,NaN\n", "Line 2"),
        ("usage_date_utc,model,cost_usd\n2026-11-01,m,many\n", "Line 2"),
    ],
)
def test_refuse_a_file_that_is_no_report(tmp_path: Path, text: str, why: str) -> None:
    assert why in compared(tmp_path, text)
