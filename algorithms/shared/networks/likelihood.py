"""Log-probabilities of completion tokens, in chunks of bounded size for any vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from ppo_vs_grpo.algorithms.shared.losses import exact_kl
from ppo_vs_grpo.algorithms.shared.networks.sequences import Packed
from ppo_vs_grpo.algorithms.shared.networks.vocabulary import vocabulary_tokens

Measure = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, ...]]
Chunk = Callable[[slice, Tensor], tuple[Tensor, ...]]
LOGITS_AT_ONCE = 2**26
"""256 MiB in float32; a pass holds a few such tensors. More logits are read in chunks and computed again backward."""


class Likelihood(NamedTuple):
    """Log-probability, entropy, KL to the reference and hidden state (N, H) of the N completion tokens of a pass."""

    logp_N: Tensor
    entropy_N: Tensor
    kl_N: Tensor | None
    hidden_NH: Tensor


def likelihood(
    model: PreTrainedModel, packed: Packed, temperature: float, reference: PreTrainedModel | None = None
) -> Likelihood:
    """Read rows with the model. With `reference`, also compute the KL of the whole distributions.

    The log-softmax is float32 for any model dtype. The entropy has no gradient.
    """

    def of(log_probs_nV: Tensor, targets_n: Tensor, theirs_nV: Tensor | None) -> tuple[Tensor, ...]:
        with torch.no_grad():
            entropy_n = -(log_probs_nV.exp() * log_probs_nV).sum(-1)
        kl = () if theirs_nV is None else (exact_kl(theirs_nV, log_probs_nV),)
        return (_chosen(log_probs_nV, targets_n), entropy_n, *kl)

    (logp_N, entropy_N, *kl), hidden_NH = _read(of, model, packed, temperature, reference)
    return Likelihood(logp_N, entropy_N.detach(), kl[0] if kl else None, hidden_NH)


def logp(model: PreTrainedModel, packed: Packed, temperature: float) -> Tensor:
    """Log-probability of each completion token: (b, T)."""
    (logp_N,), _ = _read(lambda log_probs_nV, n, _: (_chosen(log_probs_nV, n),), model, packed, temperature)
    return packed.unflatten(logp_N)


def chunk_tokens(vocabulary: int) -> int:
    """The number of tokens whose logits are computed at once for this vocabulary size; at least one."""
    return max(1, LOGITS_AT_ONCE // vocabulary)


def log_probs(model: PreTrainedModel, packed: Packed, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities of every next token before each completion token, and the hidden state: (N, V), (N, H)."""
    asked, reads_N = packed.asked_of(model)
    with output_read_at(model, reads_N) as seen:
        logits_NV = model(**asked, use_cache=False).logits[0]
    return _log_softmax(logits_NV, temperature), seen[0]


@contextmanager
def output_read_at(model: PreTrainedModel, reads_N: Tensor) -> Iterator[list[Tensor]]:
    """Give the output embedding only some positions, and keep its inputs.

    Within the context the model's logits are (1, N, V) instead of (b, L, V): prompts and padding cost no work and no
    memory, and whatever the model does to its logits (scaling, soft-capping) still happens. The yielded list receives
    the trunk's last states, (N, H), for a value head on the shared trunk. Some models scale or transform them first.
    """
    seen: list[Tensor] = []
    last: list[Tensor] = []

    def narrow(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_NH = inputs[0].flatten(0, 1).index_select(0, reads_N)
        same = not last or torch._C._is_alias_of(inputs[0], last[0])  # type: ignore[attr-defined]
        seen.append(hidden_NH if same else last[0].flatten(0, 1).index_select(0, reads_N))
        last.clear()
        return (hidden_NH[None], *inputs[1:])

    handles = [model.get_output_embeddings().register_forward_pre_hook(narrow)]
    if (trunk := trunk_of(model)) is not None:
        handles.append(trunk.register_forward_hook(lambda trunk, inputs, output: last.append(output[0])))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def trunk_of(model: PreTrainedModel) -> PreTrainedModel | None:
    """The model without its output embedding. Llama 4's text part says a name of it that it does not have."""
    trunk: PreTrainedModel = model.base_model  # type: ignore[assignment]  # the library says Module
    return trunk if trunk is not model else getattr(model, "model", None)


def hidden(trunk: PreTrainedModel, packed: Packed) -> tuple[Tensor, type[ModelOutput]]:
    """A trunk's last hidden state at the same positions, (N, H), and the type of its output."""
    asked, reads_N = packed.asked_of(trunk)
    output = trunk(**asked, use_cache=False)
    return output.last_hidden_state.flatten(0, 1).index_select(0, reads_N), type(output)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(logits.float() / temperature, dim=-1)


def _chosen(log_probs_nV: Tensor, targets_n: Tensor) -> Tensor:
    return log_probs_nV.gather(1, targets_n[:, None])[:, 0]


def _read(
    of: Measure, model: PreTrainedModel, packed: Packed, temperature: float, reference: PreTrainedModel | None = None
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Results of `of` on distributions, tokens and the reference's distributions, (N,) each; hidden states (N, H)."""
    size = chunk_tokens(vocabulary_tokens(model))
    if len(packed.reads_N) <= size or _decoder(model) is None:
        log_probs_NV, hidden_NH = log_probs(model, packed, temperature)
        theirs_NV = None
        if reference is not None:
            with torch.no_grad():
                theirs_NV, _ = log_probs(reference, packed, temperature)
        return of(log_probs_NV, packed.targets_N, theirs_NV), hidden_NH
    own, theirs = _Output.after(model, packed, temperature), None
    if reference is not None:
        with torch.no_grad():
            theirs = _Output.after(reference, packed, temperature)

    def chunk(n: slice, hidden_nH: Tensor) -> tuple[Tensor, ...]:
        targets_n, theirs_nV = packed.targets_N[n], None
        if theirs is not None:
            with torch.no_grad():
                theirs_nV = theirs.log_probs(theirs.hidden_NH[n], targets_n)
        return of(own.log_probs(hidden_nH, targets_n), targets_n, theirs_nV)

    places = [slice(at, at + size) for at in range(0, len(packed.reads_N), size)]
    of_all: tuple[Tensor, ...] = _Chunks.apply(chunk, places, own.hidden_NH, *own.parameters())  # type: ignore[no-untyped-call]
    return of_all, own.hidden_NH


class _Chunks(torch.autograd.Function):
    """A function of hidden states (N, H), and of parameters that it looks up itself, a few states at a time.

    Intermediate results are dropped and computed again for the gradient. The parameters' gradients are added up in
    place. (torch's checkpoint would hold two more tensors of an embedding's size if tensors are not plain.)
    """

    @staticmethod
    def forward(ctx: Any, chunk: Chunk, places: list[slice], hidden_NH: Tensor, *parameters: Tensor) -> Any:
        ctx.chunk, ctx.places = chunk, places
        ctx.save_for_backward(hidden_NH, *parameters)
        ctx.set_materialize_grads(False)
        return tuple(torch.cat(column) for column in zip(*(chunk(n, hidden_NH[n]) for n in places), strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *asked: Tensor | None) -> Any:
        hidden_NH, *parameters = ctx.saved_tensors
        sums = [torch.zeros_like(hidden_NH), *(torch.zeros_like(parameter) for parameter in parameters)]
        for n in ctx.places:
            _add_gradients(sums, parameters, n, hidden_NH[n], ctx.chunk, asked)
        return None, None, *sums


def _add_gradients(
    sums: list[Tensor], parameters: list[Tensor], n: slice, hidden_nH: Tensor, chunk: Chunk, asked: tuple[Any, ...]
) -> None:
    """Add a chunk's gradient to that of the hidden states and of the parameters. Nothing else is kept."""
    hidden_nH = hidden_nH.detach().requires_grad_()
    with torch.enable_grad():
        said = [part for part in zip(chunk(n, hidden_nH), asked, strict=True) if part[1] is not None]
    outputs, gradients = [part for part, _ in said], [whole_N[n] for _, whole_N in said]
    got = torch.autograd.grad(outputs, [hidden_nH, *parameters], gradients, allow_unused=True)
    for total, part in zip((sums[0][n], *sums[1:]), got, strict=True):
        if part is not None:  # a part beside the trunk that text does not pass, as a vision tower
            total += part


def _decoder(model: PreTrainedModel) -> PreTrainedModel | None:
    """The part that the model's own pass calls before its output: for OPT within its trunk. Some say a layer is it."""
    decoder = model.get_decoder()
    return decoder if isinstance(decoder, PreTrainedModel) and decoder is not model else trunk_of(model)


@dataclass(frozen=True, slots=True)
class _Output:
    """A trunk's hidden states of the tokens read, and the model around it, which turns them into distributions."""

    model: PreTrainedModel
    trunk: PreTrainedModel
    temperature: float
    hidden_NH: Tensor
    answer: type[ModelOutput]

    def parameters(self) -> list[nn.Parameter]:
        """Trained parameters outside the trunk, and the output embedding even if it is also the input's."""
        trunk = {id(parameter) for parameter in self.trunk.parameters()}
        apart = [parameter for parameter in self.model.parameters() if id(parameter) not in trunk]
        both = [*self.model.get_output_embeddings().parameters(), *apart]
        return [parameter for parameter in dict.fromkeys(both) if parameter.requires_grad]

    @classmethod
    def after(cls, model: PreTrainedModel, packed: Packed, temperature: float) -> _Output:
        """The output after a pass of the trunk over these rows."""
        trunk = _decoder(model)
        assert trunk is not None
        return cls(model, trunk, temperature, *hidden(trunk, packed))

    def log_probs(self, hidden_nH: Tensor, ids_n: Tensor) -> Tensor:
        """Log-probabilities of every next token after these states, (n, V). The model's own forward pass runs around a
        trunk that returns the states, so whatever it does to its logits still happens. Only the ids' shape matters.
        """
        trunk: Any = self.trunk
        trunk.forward = lambda *_, **__: self.answer(last_hidden_state=hidden_nH[None])
        try:
            logits_nV = self.model(input_ids=ids_n[None], use_cache=False).logits[0]
        finally:
            del trunk.forward
        return _log_softmax(logits_nV, self.temperature)
