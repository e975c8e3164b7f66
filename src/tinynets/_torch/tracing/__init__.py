"""The moving parts of the compiler: dynamo, fake tensors, symbolic sizes, operators, inductor."""
