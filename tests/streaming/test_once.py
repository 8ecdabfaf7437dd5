"""What one process of a machine makes is what the others get, on the same pages; here processes are threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch._C._distributed_c10d import HashStore

from profuse.errors import DataError, ProfuseError
from profuse.streaming.once import Once, _opened
from profuse.streaming.room import Room, Rows
from profuse.tokens import Raw
from profuse.training import messages
from profuse.training.messages import Messages
from profuse.training.world import World


def together(folder: Path, does: Callable[[Once, World], Any], n: int = 2, n_nodes: int = 1) -> list[Any]:
    """Returns what each process comes to; an error where that is it."""
    store = HashStore()

    def one(rank: int) -> Any:
        said = Messages(store, rank, n)
        these = World(rank, n, n_nodes, said)
        try:
            return does(Once(folder, these), these)
        except ProfuseError as error:
            said.fail(error)
            return error

    made: dict[int, Any] = {}
    threads = [Thread(target=lambda rank=rank: made.update({rank: one(rank)}), daemon=True) for rank in range(n)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert sorted(made) == [*range(n)], "a process waits for ever, or has failed"
    return [made[rank] for rank in range(n)]


def test_alone_a_process_makes_it_itself(tmp_path: Path) -> None:
    once = Once(tmp_path, World())
    assert once.once(lambda: "made") == "made"
    once.check_alike("a", "rows")


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_tensors_of_the_room_are_the_same_pages_in_all_processes_and_others_are_copies(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    own: list[torch.Tensor] = []

    def does(once: Once, these: World) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            rows = once.room.zeros(5, 3, dtype=dtype)
            rows[2] = 1
            own.append(torch.arange(4))
            return {"rows": rows, "turned": rows.t()[1:], "own": own[0], "words": np.array(["a", None], dtype=object)}

        return once.once(make)

    made = together(tmp_path, does, n=3)
    assert len(own) == 1
    made[0]["rows"][4, 1] = 1  # written later, seen by all
    for each in made:
        assert each["rows"].dtype == dtype
        assert each["rows"].nonzero().tolist() == [[2, 0], [2, 1], [2, 2], [4, 1]]
        assert each["turned"].int().tolist() == [[0, 0, 1, 0, 1], [0, 0, 1, 0, 0]]
        assert each["own"].tolist() == [0, 1, 2, 3]
        assert each["words"].tolist() == ["a", None]
    assert made[1]["own"] is not own[0]
    assert list(tmp_path.iterdir()) == []


def test_what_was_handed_over_before_may_be_handed_over_again_with_more(tmp_path: Path) -> None:
    def does(once: Once, these: World) -> tuple[torch.Tensor, ...]:
        first = once.once(lambda: once.room.zeros(4))
        return once.once(lambda: (first, once.room.zeros(2, 2)))

    (first, more), (mapped, also) = together(tmp_path, does)
    first += 1
    more += 2
    assert (mapped.tolist(), also.tolist()) == ([1.0] * 4, [[2.0] * 2] * 2)


def test_a_file_that_the_maker_has_let_go_takes_no_room_in_the_others(tmp_path: Path) -> None:
    mapped: list[int] = []

    def does(once: Once, these: World) -> Raw:
        def make() -> Raw:
            rows = Rows(6, once.room)
            for first, length in ((0, 2), (2, 9), (4, 40)):  # they grow twice
                rows.put(first, Raw(torch.full((2, length, 1), length), torch.ones(2, length, dtype=torch.bool)))
            return rows.raw

        made = once.once(make)
        mapped.append(len(once._mapped))
        return made

    first, second = together(tmp_path, does)
    assert torch.equal(first.values, second.values)
    assert second.values[4, :40, 0].eq(40).all()
    assert sorted(mapped) == [0, 2]


def test_an_array_that_repeats_one_value_stays_one_value(tmp_path: Path) -> None:
    nothing = np.broadcast_to(np.zeros((), dtype=object), (10**6,))
    for made in together(tmp_path, lambda once, these: once.once(lambda: nothing)):
        assert (made.shape, made.strides, made.dtype, made[7]) == ((10**6,), (0,), object, 0)


def test_one_process_of_each_machine_makes_it(tmp_path: Path) -> None:
    makers: list[int] = []

    def does(once: Once, these: World) -> tuple[int, torch.Tensor]:
        return once.once(lambda: (makers.append(these.rank) or these.machine, once.room.zeros(3)))  # type: ignore[func-returns-value]

    made = together(tmp_path, does, n=4, n_nodes=2)
    assert sorted(makers) == [0, 2]
    assert [machine for machine, _ in made] == [0, 0, 1, 1]
    made[0][1][0], made[2][1][0] = 5, 7
    assert [float(rows[0]) for _, rows in made] == [5, 5, 7, 7]


@pytest.mark.parametrize("maker", [0, 1])
def test_a_process_that_fails_is_told_to_all(maker: int, tmp_path: Path) -> None:
    def does(once: Once, these: World) -> int:
        def make() -> int:
            if these.machine == maker:
                raise DataError("row 3: it is bad")
            return 1

        return int(once.once(make))

    made = together(tmp_path, does, n=4, n_nodes=2)
    said = [str(each) for each in made]
    assert said.pop(2 * maker) == "row 3: it is bad"
    assert said == [f"process {2 * maker + 1} of 4 has failed: row 3: it is bad"] * 3


def test_machines_that_read_other_rows_are_told_and_which_one(tmp_path: Path) -> None:
    made = together(tmp_path, lambda once, these: once.check_alike(str(min(these.rank, 2)), "rows.csv"), n=3, n_nodes=3)
    assert "rows.csv: all machines must read the same rows in the same order; machine 2 of 3" in " ".join(
        map(str, made)
    )
    assert together(tmp_path, lambda once, these: once.check_alike("same", "rows.csv"), n=3, n_nodes=3) == [None] * 3


def test_a_folder_that_another_process_does_not_see_is_an_error_that_names_it(tmp_path: Path) -> None:
    def does(once: Once, these: World) -> Any:
        if these.first:
            once._name(str(tmp_path / "elsewhere"), torch.zeros(3))
        return once.once(lambda: 1)

    first, second = together(tmp_path, does)
    assert "elsewhere: all processes of a machine must find the preprocessed rows; got No such file" in str(second)
    assert str(first) == f"process 2 of 2 has failed: {second}"


def test_a_file_that_is_gone_because_a_process_has_failed_is_told_as_its_failure() -> None:
    store = HashStore()
    Messages(store, 0, 2).fail(DataError("row 3: it is bad"))
    with pytest.raises(ProfuseError, match="process 1 of 2 has failed: row 3: it is bad"):
        _opened("not there", Messages(store, 1, 2))


def test_the_process_that_fails_stays_until_the_others_have_heard_it_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[str] = []
    store = HashStore()
    first, second = Messages(store, 0, 2), Messages(store, 1, 2)
    first.fail(DataError("row 3: it is bad"))

    def hears() -> None:
        try:
            second.hear("nothing")
        except ProfuseError as error:
            time.sleep(0.1)
            heard.append(str(error))
            second.fail(error)

    other = Thread(target=hears)
    other.start()
    first.let_hear()
    assert heard == ["process 1 of 2 has failed: row 3: it is bad"]
    other.join()
    monkeypatch.setattr(messages, "_HEARING", 0.05)
    alone = Messages(HashStore(), 0, 2)
    alone.fail(DataError("nobody hears it"))
    alone.let_hear()


def test_who_waits_for_a_process_that_has_left_is_told(tmp_path: Path) -> None:
    def does(once: Once, these: World) -> Any:
        assert these.messages is not None
        return these.meet() if these.first else these.messages.leave()

    first, second = together(tmp_path, does)
    assert str(first).startswith("process 1 of 2: all processes must go on to the end; another has ended")
    assert second is None


def test_what_is_handed_over_needs_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("profuse.streaming.once.tempfile.NamedTemporaryFile", full)
    first, _ = together(tmp_path, lambda once, these: once.once(lambda: 1))
    assert "what all processes know of rows needs room; got No space left on device. Name a folder" in str(first)


def test_a_room_names_each_file_before_it_has_no_name(tmp_path: Path) -> None:
    named: list[tuple[bool, int]] = []
    Room(tmp_path, lambda path, numbers: named.append((Path(path).exists(), len(numbers)))).zeros(2, 3)
    assert named == [(True, 6)]
