"""What a child process gets of the environment: what says how to run, no secrets."""

from __future__ import annotations

import pytest

from ppo_vs_grpo.tasks.environment import allowed, of_children, passing

SECRETS = (
    *("GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"),
    *("OPENAI_API_KEY", "NVIDIA_API_KEY", "HOSTNAME", "SSH_AUTH_SOCK", "HTTPS_PROXY", "KUBERNETES_SERVICE_HOST"),
)
NEEDED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONPATH", "PYTHONHASHSEED", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    *("ROCR_VISIBLE_DEVICES", "TORCH_LOGS", "TORCHINDUCTOR_CACHE_DIR", "PYTORCH_ALLOC_CONF", "OMP_NUM_THREADS"),
    *("MKL_NUM_THREADS", "KMP_AFFINITY", "OPENBLAS_NUM_THREADS", "HF_HOME", "HF_HUB_CACHE", "TRANSFORMERS_VERBOSITY"),
    *("XDG_CACHE_HOME", "PPO_VS_GRPO_CACHE", "SSL_CERT_FILE"),
)


def test_what_says_how_to_run_is_passed_and_secrets_are_not() -> None:
    assert allowed(dict.fromkeys((*SECRETS, *NEEDED), "x")) == dict.fromkeys(NEEDED, "x")


def test_names_given_besides_are_passed_where_they_are_there() -> None:
    assert allowed({"JUDGE_KEY": "x", "JUDGE_KEY_2": "y"}, ["JUDGE_KEY", "ABSENT"]) == {"JUDGE_KEY": "x"}


def test_users_functions_get_no_more_within_a_suite_and_everything_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "x")
    monkeypatch.setenv("HF_TOKEN", "y")
    assert {"JUDGE_KEY", "HF_TOKEN"} <= of_children().keys()
    with passing(["JUDGE_KEY"]):
        assert "JUDGE_KEY" in of_children()
        assert "HF_TOKEN" not in of_children()
        with passing([]):
            assert "JUDGE_KEY" not in of_children()
    assert "HF_TOKEN" in of_children()
