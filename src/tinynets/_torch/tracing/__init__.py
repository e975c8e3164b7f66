"""Callers of checked functions, and the compiler: dynamo, fake tensors, symbolic sizes, operators."""
