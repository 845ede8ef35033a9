"""The first paper's experiment on SmolLM2-135M-Instruct, with heads on its hidden states as rewards."""
