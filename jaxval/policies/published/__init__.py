"""Checkpoints as others publish them: Llama's shape in safetensors or GGUF, and chat templates (extra `llama`).

Nothing is read from a pickle.
"""

from jaxval.policies.published.chat import chat_template
from jaxval.policies.published.gguf import read_gguf
from jaxval.policies.published.llama import read_llama

__all__ = ["chat_template", "read_gguf", "read_llama"]
