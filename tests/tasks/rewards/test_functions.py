"""Users' and TRL's functions: what they get, what they may return, and what becomes of failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards import Rated, RatingError, Rewards

SOURCE = """
import asyncio, os, sys, time
import neighbour

calls = 0
def first_of_column(answer, completion_ids, **kwargs): return [len(ids) + a for ids, a in zip(completion_ids, answer)]
def by_keys(**kwargs): return [float(len(kwargs)), float("answer" in kwargs)]
def narrow(completions): return [neighbour.VALUE] * len(completions)
def text_of(prompts, completions): return [p == "1+1=" and c in "abc" for p, c in zip(prompts, completions)]
def messages_of(prompts, completions):
    return [p[-1]["content"] == "1+1=" and c == [{"role": "assistant", "content": "a"}]
            for p, c in zip(prompts, completions)]
async def awaited(completions, log_extra, log_metric, trainer_state):
    log_extra("x", completions), log_metric("y", 1.0)
    await asyncio.sleep(0)
    return [None if c == "n" else 2 for c in completions]
def counted(completions):
    global calls
    calls += 1
    print("not an answer", flush=True)
    return [calls] * len(completions)
def foreign(completions):
    import numpy
    return numpy.array([0.5] * len(completions), dtype="float32")
def by_completion(completions):
    values = {"raise": lambda: 1 / 0, "hang": lambda: time.sleep(100), "exit": lambda: os._exit(3),
              "quit": lambda: sys.exit("bye"), "nan": lambda: float("nan"), "inf": lambda: float("inf"),
              "text": lambda: "1"}
    return [values[c]() if c in values else 1.0 for c in completions]
def short(completions): return [1.0] * (len(completions) - ("b" in completions))
def no_list(completions): return 1.0
def alone_only(completions):
    if len(completions) > 1: raise ValueError("one at a time")
    return [1.0]
def scaled(by): return lambda completions: [by * len(c) for c in completions]
def needs(completions, solution): return [1.0] * len(completions)
def pid(completions): return [os.getpid()] * len(completions)
def deaf(completions):
    open("pid", "w").write(str(os.getpid()))
    return [9**9**9**9] * len(completions)
constant = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "neighbour.py").write_text("VALUE = 7\n")
    return str(tmp_path / "mine.py")


def rate(made: Rewards, *completions: str, **changes: Any) -> list[Rated]:
    problem = Problem(**{"prompt": "1+1=", "facts": {"answer": 2}} | changes)
    return made.rate([problem] * len(completions), completions, [[5] * len(text) for text in completions])


def values(given: object, *completions: str, **changes: Any) -> list[float | None]:
    return [rated.reward for rated in rate(rewards.make(given), *completions, **changes)]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("first_of_column", [3, 4]),
        ("by_keys", [7, 1]),  # prompts, completions, completion_ids, answer, trainer_state, log_extra, log_metric
        ("narrow", [7, 7]),
        ("text_of", [1, 0]),
        ("awaited", [2, None]),
        ("foreign", [0.5, 0.5]),
    ],
)
def test_a_function_gets_what_it_takes_by_name(mine: str, function: str, expected: list[float | None]) -> None:
    changes = {"facts": {"answer": 2, "prompt": "as TRL, not passed on"}}
    assert values(f"{mine}:{function}", "a", "nn" if function != "awaited" else "n", **changes) == expected


def test_prompts_and_completions_are_messages_where_the_problem_is_a_conversation(mine: str) -> None:
    messages = ({"role": "system", "content": "add"}, {"role": "user", "content": "1+1="})
    assert values(f"{mine}:messages_of", "a", "b", messages=messages) == [1, 0]


def test_trls_own_rewards_read_messages_of_any_problem() -> None:
    facts = {"solution": r"\frac{1}{2}"}
    answers = [r"\boxed{0.5}", r"\boxed{2}"]
    assert values("trl.rewards:accuracy_reward", *answers, facts=facts) == [1, 0]
    assert values("trl.rewards.accuracy_reward", *answers, facts={"solution": "dunno"}) == [None, None]
    penalty = {"reward": "trl.rewards:get_soft_overlong_punishment"}
    lengths = {"options": {"max_completion_len": 4, "soft_punish_cache": 2}}
    assert values([penalty | lengths, {"reward": "trl.rewards:think_format_reward", "weight": 10}], "aaa", "aaaaa") == [
        -0.5,
        -1,
    ]


def test_a_function_keeps_its_state_and_what_it_prints_is_no_output(
    mine: str, capfd: pytest.CaptureFixture[str]
) -> None:
    made = rewards.make(f"{mine}:counted")
    assert [rate(made, "a")[0].reward for _ in range(3)] == [1, 2, 3]
    assert rate(made) == []
    del made
    assert capfd.readouterr().out == ""


def test_a_function_with_options_is_called_for_the_function(mine: str) -> None:
    assert values({"reward": f"{mine}:scaled", "options": {"by": 0.5}}, "a", "bb") == [0.5, 1]


def test_a_weighted_sum_has_its_parts_and_leaves_out_what_does_not_apply(mine: str) -> None:
    both = [
        {"reward": f"{mine}:awaited", "weight": 0.5, "name": "kept"},
        {"reward": "number", "weight": -2},
    ]
    made = rewards.make(both)
    assert made.names == ("kept", "number")
    assert rate(made, "2", "n", "3") == [
        Rated(-1.0, {"kept": 2.0, "number": 1.0, "parsed": 1.0}),
        Rated(0.0, {"number": 0.0, "parsed": 0.0}),
        Rated(1.0, {"kept": 2.0, "number": 0.0, "parsed": 1.0}),
    ]
    assert rate(rewards.make(f"{mine}:awaited"), "n") == [Rated(None, {})]
    two = rewards.make([{"reward": "number"}, {"reward": "exact"}])
    assert [r.parts["parsed"] for r in rate(two, "2", "two", "")] == [1, 0, 0]  # the worst of the two


WRONG: dict[str, str] = {
    "raise": r"it raised ZeroDivisionError: division by zero \(mine.py, line \d+\)",
    "quit": r"it raised SystemExit: bye \(mine.py, line \d+\)",
    "hang": "it took longer than 0.3 s",
    "exit": "it ended its process with exit code 3",
    "nan": "it returned nan; a reward is finite, or None where it does not apply",
    "inf": "it returned inf; a reward is finite",
    "text": "it returned \"'1'\", which is no number",
}


@pytest.mark.parametrize("failure", WRONG)
def test_a_failure_is_an_error_with_its_completion_or_left_out_and_counted(mine: str, failure: str) -> None:
    with pytest.raises(
        RatingError, match=f"reward by_completion, prompt '1.1=', completion '{failure}': {WRONG[failure]}"
    ):
        rate(rewards.make(f"{mine}:by_completion", limit_s=0.3), "a", failure, "b")
    made = rewards.make(f"{mine}:by_completion", limit_s=0.3, on_error="skip")
    fine = Rated(1.0, {"by_completion": 1.0, "reward_error": 0.0})
    assert rate(made, "a", failure, "b") == [fine, Rated(None, {"reward_error": 1.0}), fine]
    assert rate(made, "c") == [fine]


def test_too_few_rewards_are_the_fault_of_the_completion_that_has_none(mine: str) -> None:
    with pytest.raises(RatingError, match="completion 'b': it returned 0 rewards for 1 completions"):
        rate(rewards.make(f"{mine}:short"), "a", "b", "c")
    with pytest.raises(RatingError, match=r"completion 'a': it raised TypeError: it returned 1\.0, no list of rewards"):
        rate(rewards.make(f"{mine}:no_list"), "a", "b")


def test_what_fails_for_all_together_and_for_none_alone_is_an_error_too(mine: str) -> None:
    with pytest.raises(RatingError, match=r"completion 'a' and 1 more: it raised ValueError: one at a .* none alone"):
        rate(rewards.make(f"{mine}:alone_only"), "a", "b")
    assert [r.reward for r in rate(rewards.make(f"{mine}:alone_only", on_error="skip"), "a", "b")] == [1, 1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("MINE:needs", "'solution'; the row with prompt '1+1=' has answer"),
        ("MINE:missing", "cannot be loaded: it raised AttributeError"),
        ("MINE:constant", "cannot be loaded: it raised TypeError: constant is 3, no function"),
        ({"reward": "MINE:scaled", "options": {"to": 1}}, "cannot be loaded: it raised TypeError"),
        ("trl.rewards:accuracy", "cannot be loaded: it raised AttributeError"),
    ],
)
def test_a_function_that_cannot_be_used_is_a_mistake_before_training(mine: str, given: Any, words: str) -> None:
    if isinstance(given, Mapping):
        given = {**given, "reward": given["reward"].replace("MINE", mine)}
    else:
        given = given.replace("MINE", mine)
    with pytest.raises(UserError) as found:
        rewards.make(given).check([Problem("1+1=", {"answer": 2})])
    assert str(found.value).startswith("options.reward: ")
    assert words in str(found.value)


def test_a_digest_changes_with_the_file_options_weight_and_name(mine: str) -> None:
    def digest(**changes: Any) -> str:
        return rewards.make([{"reward": f"{mine}:scaled", "options": {"by": 1}} | changes]).digest()

    found = [digest(), digest(options={"by": 2}), digest(weight=2), digest(name="other")]
    Path(mine).write_text(SOURCE + "# changed\n")
    found.append(digest())
    assert len(set(found)) == 5
    Path(mine).write_text(SOURCE)
    assert digest() == found[0]


def test_functions_share_a_process_that_ends_with_the_rewards(mine: str) -> None:
    made = rewards.make([{"reward": f"{mine}:pid", "name": name} for name in ("one", "two")])
    (rated,) = rate(made, "a")
    assert rated.parts["one"] == rated.parts["two"] != os.getpid()
    child = psutil.Process(int(rated.parts["one"]))
    del made
    assert not child.is_running()


PARENT = """
import sys
from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
open("imports", "a").write("main ")
rewards.make("mine.py:" + sys.argv[1]).rate([Problem("p")], ["a"], [[1]])
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_the_process_ends_with_its_parent_even_while_it_computes(mine: str, ending: signal.Signals) -> None:
    folder = Path(mine).parent
    (folder / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-P", "parent.py", "deaf"], cwd=folder, env=environment, stderr=-3)
    deadline = time.monotonic() + 30
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = psutil.Process(int((folder / "pid").read_text()))
    assert child.ppid() == parent.pid
    parent.send_signal(ending)
    parent.wait(10)
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE  # nobody may be there to reap it
    assert (folder / "imports").read_text() == "main "  # the child runs no user's main module


def test_the_terminals_interrupt_is_the_parents_to_handle(mine: str) -> None:
    made = rewards.make(f"{mine}:pid")
    (before,) = rate(made, "a")
    assert before.reward is not None
    os.kill(int(before.reward), signal.SIGINT)
    assert rate(made, "a") == [before]


def test_an_interrupt_leaves_no_answer_for_the_next_question(mine: str) -> None:
    made = rewards.make(f"{mine}:by_completion")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    rate(made, "a")
    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            rate(made, "hang")
    finally:
        signal.signal(signal.SIGALRM, old)
    assert [r.reward for r in rate(made, "a", "b")] == [1, 1]
