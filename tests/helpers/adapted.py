"""A trainer with adapters."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from copying import VOCABULARY, Copying, llama
from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import CHARACTERS, tokenizer

TRAIN = TrainConfig(
    prompts_per_update=8, group_size=8, learning_rate=1e-2, warmup_completions=0, beta=0.05, lora_rank=2
)


def trainer(
    name: str,
    train: TrainConfig = TRAIN,
    make=llama,
    task: Copying | None = None,
    seed: int = 0,
    **config: object,
) -> Trainer:
    policy = make(vocab_size=len(CHARACTERS) + 4)
    policy.config.eos_token_id = 2
    train = train.model_copy(update=entry(name).train(train))
    kind = find(name)
    algorithm = kind(kind.Config.model_validate({**entry(name).config, **config}), train)
    return Trainer(policy, tokenizer(), task or Copying(), algorithm, train, seed)


class Table(PreTrainedModel):
    """A language model of two embeddings and nothing between."""

    config_class = PretrainedConfig

    def __init__(self) -> None:
        super().__init__(PretrainedConfig())
        self.embedding, self.output = nn.Embedding(VOCABULARY, 8), nn.Linear(8, VOCABULARY)

    def get_output_embeddings(self) -> nn.Module:
        return self.output

    def forward(self, input_ids: Tensor, **kwargs: object) -> CausalLMOutputWithPast:
        return CausalLMOutputWithPast(logits=self.output(self.embedding(input_ids)))
