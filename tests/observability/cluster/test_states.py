"""Queues of several processes, added up by engine."""

from apiproxy.runs.admission import QueueSnapshot
from observability.cluster.states import Identity, active_run, queue_of, row_of, total_queue
from tests.observability.builders import draft_of, make_turn, opening


def test_sum_queues_of_processes_by_engine() -> None:
    both = queue_of(
        {"sdk": QueueSnapshot(active=1, waiting=2, max=5), "http": QueueSnapshot(active=9, waiting=0, max=9)}
    )
    old = {"active": 2, "waiting": 0, "max": 5}  # of a process of the version before: sdk alone
    assert total_queue([both, old]) == {  # type: ignore[list-item]  # as parsed from JSON
        "active": 12,
        "waiting": 2,
        "max": 19,
        "by_engine": {
            "sdk": {"active": 3, "waiting": 2, "max": 10},
            "http": {"active": 9, "waiting": 0, "max": 9},
        },
    }
    assert total_queue([]) == {"active": 0, "waiting": 0, "max": 0, "by_engine": {}}


def test_show_run_of_peer_without_engine() -> None:
    run = active_run(draft_of(make_turn(engine="http"), opening()), Identity(process="p", node="n", pid=1))
    assert row_of(run)["engine"] == "http"
    del run["engine"]  # type: ignore[misc]  # as an older version sends it
    assert row_of(run)["engine"] == ""
