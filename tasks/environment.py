"""Which variables of the environment a child process gets: those that say how to run, and those that a suite names.

Runs are offline and need no account: tokens and keys stay with the process that a user started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

NAMES = frozenset(
    (
        *("PATH", "HOME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"),
        *("USER", "LOGNAME"),  # torch names a cache folder by them where the system knows no name
        *("VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD", "CC", "CXX", "GLIBC_TUNABLES"),
        *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_ASSETS_CACHE"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE"),  # no NVIDIA_API_KEY
        *("TOKENIZERS_PARALLELISM", "ATEN_CPU_CAPABILITY", "NO_COLOR"),
    )
)
"""Variables that every child gets."""

BEGINNINGS = (
    *("LC_", "DYLD_", "MALLOC_", "PYTHON", "PPO_VS_GRPO_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "VECLIB_", "NUMEXPR_", "ONEDNN_", "DNNL_", "RAYON_"),
    *("TORCH", "PYTORCH_", "TRANSFORMERS_", "TRITON_"),
    *("CUDA_", "CUBLAS_", "CUDNN_", "NCCL_", "ROCR_", "ROCM_", "HIP_", "HSA_"),
)
"""Beginnings of names of variables that every child gets."""

_named: ContextVar[frozenset[str] | None] = ContextVar("named", default=None)


def allowed(environment: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """The variables of an environment that a child gets, with those that are named besides and are there."""
    names = NAMES.union(more)
    return {name: value for name, value in environment.items() if name in names or name.startswith(BEGINNINGS)}


@contextmanager
def passing(names: Iterable[str]) -> Iterator[None]:
    """As long as the block runs, `of_children` is what is allowed, and these names."""
    token = _named.set(frozenset(names))
    try:
        yield
    finally:
        _named.reset(token)


def of_children() -> dict[str, str]:
    """The environment for a process in which users' functions run.

    Within `passing` it is what is allowed there; elsewhere that of this process, which in a run is small already.
    """
    named = _named.get()
    return dict(os.environ) if named is None else allowed(os.environ, named)
