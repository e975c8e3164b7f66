"""Whether the model runs on the device it is moved to or built on."""
