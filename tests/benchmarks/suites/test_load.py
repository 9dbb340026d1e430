"""Suites: what a file and its overrides mean, and what each mistake in them says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForSequenceClassification, LlamaConfig

from ppo_vs_grpo.algorithms import ALGORITHMS
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite, suite_names
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document, resolve
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError
from suite_files import SUITE, message, specs
from tiny_models import save_model

SUITES = [
    *(
        "attribution",
        "claims",
        "core",
        "countdown-1.5b",
        "fair",
        "family",
        "gsm8k-0.5b",
        "gsm8k-0.5b-lora",
        "memory",
        "peers",
    ),
    *("rlhf-1b", "scaling", "smoke", "smollm2", "tuning"),
]


def test_the_shipped_suites_resolve() -> None:
    assert suite_names() == SUITES
    core = specs(find_suite("core"))
    smoke = specs(find_suite("smoke"))
    assert [sum(spec.purpose == "train" for spec in each) for each in (core, smoke)] == [96, 4]
    assert {spec.train.batch_completions for spec in core} == {128}
    assert {spec.train.beta > 0 for spec in core} == {True}
    forms = {spec.arm: (spec.config.get("critic") or {}).get("kind") for spec in core}
    assert forms == {"ppo-critic": "model", "ppo": "head", "grpo": None}


@pytest.mark.parametrize("name", ["countdown-1.5b", "gsm8k-0.5b", "gsm8k-0.5b-lora", "rlhf-1b", "smollm2"])
def test_suites_of_real_models_resolve_with_local_stand_ins(name: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    AutoModelForSequenceClassification.from_config(
        LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_labels=1)
    ).save_pretrained(tmp_path / "judge")
    tokenizer().save_pretrained(tmp_path / "judge")
    gsm8k = [{"question": f"How many are {n} eggs?", "answer": f"<<{n}+0={n}>>{n}\n#### {n}"} for n in range(60)]
    chats = [{"prompt": [{"role": "user", "content": f"Why {n}?"}]} for n in range(60)]
    for file, rows in (("gsm8k", gsm8k), ("chats", chats)):
        (tmp_path / f"{file}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    local = {
        "gsm8k": f"tasks.gsm8k.options={{source: {tmp_path}/gsm8k.jsonl, test: null}}",
        "rlhf": f"tasks.ultrafeedback.options.source={tmp_path}/chats.jsonl",
    }
    changes = [f"start={tmp_path}/model", "eval.prompts=4", *(local[key] for key in local if name.startswith(key))]
    if name == "rlhf-1b":
        changes.append(f"tasks.ultrafeedback.options.reward={{model: {tmp_path}/judge}}")
    made = specs(find_suite(name), *changes)
    ours, theirs = (
        {s.train.model_dump_json() for s in made if s.arm == arm and s.timing is None} for arm in ("ppo", "grpo")
    )
    assert ours == theirs
    assert len({s.seed for s in made if s.timing is None}) == (5 if name == "smollm2" else 8)


def test_family_has_every_algorithm_with_what_its_name_declares() -> None:
    family = {spec.arm: spec for spec in specs(find_suite("family"))}
    assert list(family) == list(ALGORITHMS)
    assert family["ppo-critic"].config["critic"]["kind"] == "model"
    assert family["ppo-flat"].train.batch_completions == family["ppo"].train.batch_completions
    assert family["ppo-flat"].train.group_size == 1
    assert (family["dapo"].train.beta, family["dapo"].train.clip_high) == (0.0, 0.28)
    assert family["reinforce"].train.mini_batches == family["grpo-source"].train.mini_batches == 1


def test_what_an_arm_says_goes_before_what_its_name_declares(path: Path) -> None:
    (spec, *_) = specs(
        path,
        "arms.ppo={algorithm: ppo-critic, config: {critic: {learning_rate: 0.01}}, train: {beta: 0.5}}",
        "arms.grpo={algorithm: dapo, train: {clip_high: 0.4}}",
    )
    assert spec.config["critic"]["kind"] == "model"
    assert spec.config["critic"]["learning_rate"] == 0.01
    dapo = next(s for s in specs(path, "arms.grpo={algorithm: dapo, train: {clip_high: 0.4}}") if s.arm == "grpo")
    assert (dapo.train.clip_high, dapo.train.beta) == (0.4, 0.0)


def test_attribution_is_on_seeds_of_its_own_with_cores_settings() -> None:
    core, attribution = specs(find_suite("core")), specs(find_suite("attribution"))
    assert not {spec.seed for spec in core} & {spec.seed for spec in attribution}
    assert {s.train.model_dump_json() for s in core if s.purpose == "train"} == {
        s.train.model_dump_json() for s in attribution
    }


def test_tuning_never_sees_what_core_is_judged_on() -> None:
    core, tuning = specs(find_suite("core")), specs(find_suite("tuning"))
    assert not {spec.seed for spec in core} & {spec.seed for spec in tuning}
    assert {spec.tuning for spec in tuning} == {True}
    assert {(s.task, s.task_data, s.start_hash) for s in core} == {(s.task, s.task_data, s.start_hash) for s in tuning}


def test_a_suite_is_found_by_name_and_by_path(path: Path) -> None:
    assert find_suite("smoke").name == "smoke.yaml"
    assert find_suite(str(path)) == path
    with pytest.raises(UserError, match=r"suite 'cor': neither .* did you mean 'core'"):
        find_suite("cor")


def test_runs_are_ordered_seed_task_arm_then_timing_forward_and_backward(path: Path) -> None:
    names = [spec.key.rsplit(".", 1)[0] for spec in specs(path)]
    assert names[:5] == ["ppo.sorting.s0", "grpo.sorting.s0", "ppo.recall.s0", "grpo.recall.s0", "ppo.sorting.s1"]
    assert names[8:12] == ["ppo.sorting.r0", "grpo.sorting.r0", "grpo.sorting.r1", "ppo.sorting.r1"]
    assert len(names) == len(set(names)) == 16


def test_arms_get_the_shared_settings_their_own_and_every_default(path: Path) -> None:
    ppo, grpo = specs(path)[:2]
    assert (ppo.config["lam"], ppo.config["gamma"], grpo.config["ddof"]) == (0.9, 1.0, 1)
    assert (ppo.train.learning_rate, grpo.train.learning_rate) == (TrainConfig().learning_rate, 1e-4)
    assert (ppo.train.completions, grpo.train.completions) == (640, 640)


def test_new_tokens_come_from_the_task_unless_the_suite_says(path: Path) -> None:
    own = {spec.task: spec.train.max_new_tokens for spec in specs(path, "tasks.recall.options.horizon=5")}
    assert own == {"sorting": 11, "recall": 6}
    assert {spec.train.max_new_tokens for spec in specs(path, "train.max_new_tokens=7")} == {7}


def test_a_timing_run_has_the_budget_of_its_updates(path: Path) -> None:
    for spec in specs(path):
        assert spec.train.updates == (7 if spec.purpose == "timing" else 20)
        assert (spec.timing is not None) == (spec.purpose == "timing")


def test_keys_change_with_what_changes_results_and_with_nothing_else(path: Path) -> None:
    def keys(*overrides: str) -> list[str]:
        return [spec.key for spec in specs(path, *overrides) if spec.purpose == "train"]

    assert keys("name=other") == keys("description=x") == keys("timing.updates=9") == keys()
    assert not set(keys("train.beta=0.5")) & set(keys())
    assert not set(keys("tasks.sorting.options.length=4", "tasks.recall.options.horizon=2")) & set(keys())
    assert set(keys("arms.ppo.config.lam=0.5")) & set(keys()) == {key for key in keys() if key.startswith("grpo")}
    assert set(keys("seeds=1")) < set(keys())


def test_overrides_are_yaml_and_reach_every_level(path: Path) -> None:
    overrides = [
        "train.learning_rate=2e-3",
        "seeds=[3, 5]",
        "arms.grpo.config.ddof=0",
        "timing=null",
        "eval={points: 3}",
    ]
    suite = load_suite(path, overrides)
    assert (suite.train.learning_rate, suite.seeds, suite.timing) == (2e-3, [3, 5], None)
    assert (suite.train.completions, suite.eval.points, suite.eval.prompts) == (640, 3, 256)
    assert [spec.config["ddof"] for spec in resolve(suite, "") if spec.arm == "grpo"] == [0] * 4
    assert list(load_suite(path, ["tasks=[countdown]"]).tasks) == ["countdown"]
    assert list(load_suite(path, ["arms.second={algorithm: ppo}"]).arms) == ["ppo", "grpo", "second"]


@pytest.mark.parametrize("text", ["5e-4", "5E-4", "+5.e-4", "5.0e-4"])
def test_numbers_with_an_exponent_are_numbers(path: Path, text: str) -> None:
    assert load_suite(path, [f"tasks.sorting.options.x={text}"]).tasks["sorting"].options == {"x": 0.0005}


def test_an_empty_value_in_the_file_can_be_filled(path: Path) -> None:
    path.write_text(SUITE + "eval:\n")
    assert load_suite(path, ["eval.points=3"]).eval.points == 3


def test_tuning_seeds_are_others(path: Path) -> None:
    assert load_suite(path, ["tuning=true"]).seeds == [1000, 1001]
    assert "1000: a seed of an evaluation suite lies in 0..999" in message(path, "seeds=[1000]")
    assert "0: a seed of a tuning suite lies in 1000..1999" in message(path, "tuning=true", "seeds=[0]")


def test_the_lock_document_has_every_default(path: Path) -> None:
    suite = load_suite(path)
    lock = lock_document(suite, resolve(suite, ""))
    assert lock["suite"]["arms"]["ppo"]["config"]["critic"]["kind"] == "head"
    assert lock["suite"]["train"]["clip_low"] == 0.2
    again = Suite.model_validate(yaml.safe_load(yaml.safe_dump(lock["suite"], sort_keys=False)))
    assert lock_document(again, resolve(again, "")) == lock
    changed = load_suite(path, ["train.beta=0.5"])
    assert lock_document(changed, resolve(changed, ""))["hash"] != lock["hash"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trian.beta=1", "trian: unknown key; did you mean 'train'? Known: name, "),
        ("train.completion=640", "train.completion: unknown key; did you mean 'completions'? Known: completions, "),
        ("train.completions=-5", "train.completions: -5: should be greater than or equal to 1"),
        ("train.completions=many", "train.completions: 'many': should be a valid integer"),
        ("train.completions=31", "arms.ppo.train.completions: 31: less than one update, which takes "),
        ("train.mini_batches=33", "arms.ppo.train.mini_batches: 33: more than the 32 completions of an update"),
        ("train.group_size=1", "arms.grpo.train.group_size: 1: this algorithm compares the completions of one"),
        ("arms.grpo.train.group_size=1", "arms.grpo.train.group_size: 1: this algorithm compares the completions"),
        ("arms.grpo.train.bta=1", "arms.grpo.train.bta: unknown key; did you mean 'beta'?"),
        ("arms.ppo.config.lamm=1", "arms.ppo.config.lamm: unknown key; did you mean 'lam'? Known: gamma, lam, "),
        ("arms.ppo.config.critic.kin=head", "arms.ppo.config.critic.kin: unknown key; did you mean 'kind'?"),
        ("arms.ppo.config.critic.kind=heads", "arms.ppo.config.critic.kind: 'heads': should be 'head' or 'model'"),
        ("arms.ppo.algorithm=ppoo", "arms.ppo.algorithm: unknown 'ppoo'; did you mean 'ppo'?"),
        ("arms.ppo=3", "arms.ppo: 3: should be a mapping with the keys algorithm, config, train"),
        ("arms.x={config: {}}", "arms.x.algorithm: missing"),
        ("arms={}", "arms: {}: "),
        ("arms={a.b: {algorithm: ppo}}", "arms.a.b: 'a.b': "),
        ("tasks.sorting.task=sortin", "tasks.sorting.task: unknown 'sortin'; did you mean 'sorting'?"),
        ("tasks.sorting.options.lenght=4", "tasks.sorting.options.lenght: 'sorting' has no such option; did you "),
        ("tasks=[]", "tasks: {}: "),
        ("seeds=0", "seeds: 0: should be a list of seeds, or how many: 1 to 1000"),
        ("seeds=true", "seeds: True: should be a list of seeds, or how many: 1 to 1000"),
        ("seeds=[]", "seeds: []: "),
        ("seeds=[1, 1]", "seeds: 1: listed more than once"),
        ("timing.updates=0", "timing.updates: 0: should be greater than or equal to 1"),
        ("name=../up", "name: '../up': "),
    ],
)
def test_each_mistake_names_key_value_and_what_would_be_right(path: Path, override: str, expected: str) -> None:
    assert message(path, override).startswith(expected)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train", "--set train: should be KEY=VALUE, as in --set train.completions=640"),
        ("=3", "--set =3: should be KEY=VALUE"),
        ("train.=3", "--set train.=3: should be KEY=VALUE"),
        ("train.beta=[", "--set train.beta=[, line 1: not YAML"),
        ("arms.pppo.config.lam=1", "--set arms.pppo.config.lam=1: arms.pppo: not in this suite; did you mean 'ppo'?"),
        (
            "tasks.srting.options.length=1",
            "--set tasks.srting.options.length=1: tasks.srting: not in this suite; did you",
        ),
        ("seeds.x=1", "--set seeds.x=1: seeds is 2, which has no keys of its own"),
    ],
)
def test_an_override_that_cannot_be_applied_names_itself(path: Path, override: str, expected: str) -> None:
    assert message(path, override).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds a NoneType; a suite is a mapping with the keys name, description"),
        ("- a\n", "holds a list; a suite is a mapping"),
        ("tasks: [\n", "line 2: not YAML"),
        (SUITE + "seeds: 3\n", "line 9: not YAML (key 'seeds' twice)"),
        ("arms: [ppo]\nseeds: 1\n", "tasks: missing"),
    ],
)
def test_a_broken_file_names_itself_and_the_line(path: Path, text: str, expected: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        specs(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


def test_a_binary_file_is_no_suite(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as UTF-8 text" in message(path)


def test_reading_a_suite_needs_no_torch() -> None:
    code = (
        "import sys; from ppo_vs_grpo.benchmarks.suites import load as l; l.load_suite(l.find_suite('core'));"
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_the_first_pair_that_a_suite_names_is_judged_and_without_pairs_a_lock_has_no_word_of_them(path: Path) -> None:
    plain, paired = (load_suite(path, more) for more in ((), ("pairs=[[grpo, ppo]]",)))
    assert "pairs" not in lock_document(plain, [])["suite"]
    assert lock_document(paired, [])["suite"]["pairs"] == [["grpo", "ppo"]]
    for wrong, says in {
        "[[ppo, grp]]": "no arm of this suite; did you mean 'grpo'?",
        "[[ppo]]": "should be two arms",
    }.items():
        with pytest.raises(UserError) as caught:
            load_suite(path, [f"pairs={wrong}"])
        assert says in str(caught.value)
