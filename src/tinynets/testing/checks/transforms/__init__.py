"""Whether the model can be compiled, exported, hooked and transformed by `torch.func`."""
