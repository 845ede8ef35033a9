"""Published formats: Llama's shape in safetensors or GGUF, chat templates, adapters of PEFT (extra `llama`).

Nothing is read from a pickle.
"""

from jaxval.policies.published.chat import chat_template
from jaxval.policies.published.gguf import read_gguf
from jaxval.policies.published.llama import read_llama, read_reward
from jaxval.policies.published.peft import Adapter, read_adapter, stack_adapters, write_adapter

__all__ = [
    "Adapter",
    "chat_template",
    "read_adapter",
    "read_gguf",
    "read_llama",
    "read_reward",
    "stack_adapters",
    "write_adapter",
]
