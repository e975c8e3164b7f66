"""The private parts of `nn.Module`: its tables of parameters, buffers, submodules and hooks."""
