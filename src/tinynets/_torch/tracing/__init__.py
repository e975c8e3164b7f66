"""Who calls a checked function; and the compiler: dynamo, fake tensors, symbolic sizes, operators."""
